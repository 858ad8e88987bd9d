//! A round over all names of a cache, some at a time: the worker serves in between.

use std::rc::Rc;

/// The least number of names that are looked at at a time.
const LEAST: usize = 1_000;
/// In how many steps a round is done at the most.
const STEPS: usize = 150;

/// The names, each at a place that it keeps.
#[derive(Default)]
pub(super) struct Places {
    names: Vec<Option<Rc<[u8]>>>,
    free: Vec<usize>,
}

impl Places {
    pub(super) fn add(&mut self, name: Rc<[u8]>) -> usize {
        if let Some(place) = self.free.pop() {
            if let Some(slot) = self.names.get_mut(place) {
                *slot = Some(name);
                return place;
            }
        }
        self.names.push(Some(name));
        self.names.len() - 1
    }

    pub(super) fn remove(&mut self, place: usize) {
        if self.names.get_mut(place).and_then(Option::take).is_some() {
            self.free.push(place);
        }
    }

    /// What is at the next places of a round; the round is over when they are the last.
    pub(super) fn step(&self, round: &mut Round) -> Vec<Rc<[u8]>> {
        let Round(Some(at)) = *round else { return Vec::new() };
        let step = LEAST.max(self.names.len().div_ceil(STEPS));
        let next = at + step;
        *round = Round((next < self.names.len()).then_some(next));
        self.names.iter().skip(at).take(step).flatten().cloned().collect()
    }
}

/// The place where a round goes on.
#[derive(Clone, Copy, Default)]
pub(super) struct Round(Option<usize>);

impl Round {
    pub(super) fn begin() -> Round {
        Round(Some(0))
    }

    pub(super) fn is_over(self) -> bool {
        self.0.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_comes_once() {
        let mut places = Places::default();
        let name = |i: usize| Rc::from(format!("n{i}").as_bytes());
        for i in 0..2_500 {
            assert_eq!(places.add(name(i)), i);
        }
        for i in 0..500 {
            places.remove(2 * i);
            places.remove(2 * i);
        }
        for i in 0..400 {
            assert!(places.add(name(2_500 + i)) < 1_000);
        }
        let (mut round, mut seen, mut steps) = (Round::begin(), Vec::new(), 0);
        while !round.is_over() {
            let step = places.step(&mut round);
            assert!(step.len() <= LEAST);
            seen.extend(step);
            steps += 1;
        }
        assert_eq!((steps, seen.len()), (3, 2_400));
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 2_400);
        assert!(places.step(&mut round).is_empty() && round.is_over());
    }

    #[test]
    fn a_round_has_no_more_steps_than_that() {
        let mut places = Places::default();
        let name: Rc<[u8]> = Rc::from(&b"n"[..]);
        for _ in 0..2 * LEAST * STEPS {
            places.add(Rc::clone(&name));
        }
        let (mut round, mut steps) = (Round::begin(), 0);
        while !round.is_over() {
            places.step(&mut round);
            steps += 1;
        }
        assert_eq!(steps, STEPS);
    }
}

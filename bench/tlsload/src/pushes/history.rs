//! What was done to one name and what was seen of it, and whether the two agree.
//!
//! All is checked afterwards, with all times known; times are those of the clients, so that a call
//! took effect somewhere between two of them. The order of changes is that of their generations.

use std::collections::{HashMap, HashSet};

/// Nanoseconds since the beginning of the run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) from: u64,
    pub(super) to: u64,
}

/// A call that was answered 2xx and changed the set.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) span: Span,
    pub(super) condition: Condition,
    pub(super) effect: Effect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    None,
    /// `If-Match`.
    Matches(u64),
    /// `If-None-Match: *`.
    Absent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// It became the set of this generation.
    Set {
        serial: u64,
        generation: u64,
    },
    /// The answer told of another set: the generation of that one.
    Untold {
        serial: Option<u64>,
        other: u64,
    },
    Removed,
}

/// What a handshake or a GET got.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) span: Span,
    pub(super) what: What,
    pub(super) is_answer: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Serial(u64),
    /// The serial number where the answer told of one.
    Generation(u64, Option<u64>),
    Nothing,
}

#[derive(Default)]
pub(super) struct History {
    pub(super) changes: Vec<Change>,
    pub(super) seen: Vec<Seen>,
}

/// What does not agree, with an example of each.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    pub(super) lost: Vec<String>,
    /// Answers to a change that gave another one's generation.
    pub(super) untold: Vec<String>,
    /// Seen by a handshake, or by an answer of the API.
    pub(super) stale: Vec<String>,
    pub(super) stale_answers: Vec<String>,
    /// Answers with a generation below that of a set that was removed before.
    pub(super) below_removed: u64,
}

impl History {
    pub(super) fn check(&self, findings: &mut Findings) {
        let sets = Sets::of(self);
        self.check_updates(&sets, findings);
        for seen in &self.seen {
            let floor = sets.floor(seen.span.from);
            if !sets.may_be_seen(seen) {
                let Findings { stale, stale_answers, .. } = findings;
                let list = if seen.is_answer { stale_answers } else { stale };
                list.push(format!("{seen:?}, floor {floor}"));
            } else if matches!(seen.what, What::Generation(generation, _) if generation < floor) {
                findings.below_removed += 1;
            }
        }
    }

    fn check_updates(&self, sets: &Sets<'_>, findings: &mut Findings) {
        let (mut matched, mut told) = (HashMap::new(), HashSet::new());
        for change in &self.changes {
            match change.effect {
                Effect::Untold { other, .. } => {
                    findings.untold.push(format!("{change:?}"));
                    // It came after the set that the other one matched, and the other one does not
                    // know of it.
                    let before = sets.by_generation.get(&other).and_then(|other| {
                        let Condition::Matches(before) = other.condition else { return None };
                        sets.by_generation.get(&before)
                    });
                    if before.is_some_and(|before| before.span.to < change.span.from) {
                        findings.lost.push(format!("{change:?}"));
                    }
                }
                Effect::Set { generation, .. } => {
                    if !told.insert(generation) {
                        findings.untold.push(format!("{change:?}, as another one"));
                    }
                }
                Effect::Removed => {}
            }
            let Condition::Matches(before) = change.condition else { continue };
            if let Some(other) = matched.insert(before, change) {
                findings.lost.push(format!("{other:?} and {change:?}"));
            }
            let between = match change.effect {
                Effect::Set { generation, .. } => sets.between(before, generation),
                Effect::Untold { .. } => None,
                // Its place is known by time only.
                Effect::Removed => sets.after(before, change.span.from),
            };
            if let Some(between) = between {
                findings.lost.push(format!("{between:?} by {change:?}"));
            }
        }
    }

    /// Whether the last generation is what the run ends with.
    pub(super) fn ends_with(&self, present: Option<u64>) -> bool {
        let sets = Sets::of(self);
        let last = sets.generations.last().copied();
        present == last || present.is_some_and(|present| sets.late.contains(&present))
    }
}

/// The sets of a name, made to be looked up.
struct Sets<'a> {
    by_generation: HashMap<u64, &'a Change>,
    by_serial: HashMap<u64, Vec<(u64, &'a Change)>>,
    /// Ascending.
    generations: Vec<u64>,
    /// Without the generations of pushes that may have come after a removal.
    late: HashSet<u64>,
    untold: Vec<&'a Change>,
    /// The highest generation that was told of by then, by time.
    floors: Vec<(u64, u64)>,
    /// When a conditional removal of a generation was answered.
    removed: HashMap<u64, u64>,
    /// By when removals were answered: the latest beginning of one.
    removals_by_end: Vec<(u64, u64)>,
    /// By when removals began: the latest end of one.
    removals_by_begin: Vec<(u64, u64)>,
    /// By when pushes were answered: the latest beginning of one.
    begun: Vec<(u64, u64)>,
}

impl<'a> Sets<'a> {
    fn of(history: &'a History) -> Sets<'a> {
        let mut by_generation = HashMap::new();
        let mut by_serial = HashMap::<u64, Vec<_>>::new();
        let (mut untold, mut removed) = (Vec::new(), HashMap::new());
        let (mut floors, mut begun) = (Vec::new(), Vec::new());
        let (mut by_end, mut by_begin) = (Vec::new(), Vec::new());
        for change in &history.changes {
            let Span { from, to } = change.span;
            match change.effect {
                Effect::Set { serial, generation } => {
                    by_generation.insert(generation, change);
                    by_serial.entry(serial).or_default().push((generation, change));
                    floors.push((to, generation));
                    begun.push((to, from));
                }
                Effect::Untold { other, .. } => {
                    untold.push(change);
                    floors.push((to, other));
                    begun.push((to, from));
                }
                Effect::Removed => {
                    if let Condition::Matches(generation) = change.condition {
                        removed.insert(generation, to);
                    }
                    by_end.push((to, from));
                    by_begin.push((from, to));
                }
            }
        }
        for seen in &history.seen {
            if let What::Generation(generation, _) = seen.what {
                floors.push((seen.span.to, generation));
            }
        }
        for list in [&mut floors, &mut begun, &mut by_end, &mut by_begin] {
            ascend(list);
        }
        let mut generations: Vec<u64> = by_generation.keys().copied().collect();
        generations.sort_unstable();
        // A push draws its generation before it has the zone's lock: another one may be published
        // and removed in between.
        let is_late = |generation: u64, push: &Change| {
            push.condition == Condition::None
                && history.changes.iter().any(|removal| {
                    let is_above = match removal.condition {
                        Condition::Matches(removed) => removed > generation,
                        _ => true,
                    };
                    removal.effect == Effect::Removed
                        && is_above
                        && removal.span.from < push.span.to
                        && push.span.from < removal.span.to
                })
        };
        let late = by_generation.iter().filter(|(generation, push)| is_late(**generation, push));
        let late = late.map(|(generation, _)| *generation).collect();
        Sets {
            by_generation,
            by_serial,
            generations,
            late,
            untold,
            floors,
            removed,
            removals_by_end: by_end,
            removals_by_begin: by_begin,
            begun,
        }
    }

    /// The highest generation that anybody knew of before then.
    fn floor(&self, time: u64) -> u64 {
        latest(&self.floors, time).unwrap_or(0)
    }

    fn between(&self, low: u64, high: u64) -> Option<&'a Change> {
        let from = self.generations.partition_point(|generation| *generation <= low);
        let between = self.generations[from..].iter().take_while(|generation| **generation < high);
        let mut between = between.filter(|generation| !self.late.contains(generation));
        between.next().map(|generation| self.by_generation[generation])
    }

    /// A change that came after the generation, and was answered by then.
    fn after(&self, low: u64, time: u64) -> Option<&'a Change> {
        let from = self.generations.partition_point(|generation| *generation <= low);
        let changes = self.generations[from..].iter().map(|g| self.by_generation[g]);
        changes.into_iter().find(|change| change.span.to < time)
    }

    /// Whether something was there at a moment of the span that agrees with all that was told.
    fn may_be_seen(&self, seen: &Seen) -> bool {
        let span = seen.span;
        match seen.what {
            What::Nothing => {
                // The latest removal that had begun, and no push that began after it and was told of.
                let pushed = latest(&self.begun, span.from).unwrap_or(0);
                latest(&self.removals_by_begin, span.to).is_some_and(|removed| removed >= pushed)
            }
            What::Serial(serial) => {
                let told = self.by_serial.get(&serial).map(Vec::as_slice).unwrap_or_default();
                told.iter().any(|(generation, set)| self.may_be_there(*generation, set, span))
                    || self.untold.iter().any(|change| {
                        let Effect::Untold { serial: untold, .. } = change.effect else {
                            return false;
                        };
                        untold.is_none_or(|untold| untold == serial)
                            && change.span.from < span.to
                            && span.from < change.span.to
                    })
            }
            What::Generation(generation, serial) => match self.by_generation.get(&generation) {
                Some(set) => {
                    let is_same = match set.effect {
                        Effect::Set { serial: pushed, .. } => serial.is_none_or(|s| s == pushed),
                        _ => false,
                    };
                    is_same && self.may_be_there(generation, set, span)
                }
                // Whoever pushed it was told of another.
                None => !self.untold.is_empty() && generation >= self.floor(span.from),
            },
        }
    }

    fn may_be_there(&self, generation: u64, set: &Change, span: Span) -> bool {
        let is_later = generation >= self.floor(span.from) || self.late.contains(&generation);
        let was_removed = self.removed.get(&generation).is_some_and(|told| *told < span.from)
            || latest(&self.removals_by_end, span.from).is_some_and(|begun| set.span.to < begun);
        set.span.from < span.to && is_later && !was_removed
    }
}

/// By time, with the highest value so far.
fn ascend(list: &mut [(u64, u64)]) {
    list.sort_unstable();
    let mut highest = 0;
    for (_, value) in list {
        highest = highest.max(*value);
        *value = highest;
    }
}

/// The highest value before then.
fn latest(list: &[(u64, u64)], time: u64) -> Option<u64> {
    let count = list.partition_point(|(at, _)| *at < time);
    count.checked_sub(1).map(|last| list[last].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(from: u64, to: u64, condition: Condition, effect: Effect) -> Change {
        Change { span: Span { from, to }, condition, effect }
    }

    fn set(generation: u64) -> Effect {
        Effect::Set { serial: generation * 10, generation }
    }

    fn check(changes: &[Change], seen: &[(u64, u64, What)]) -> [usize; 4] {
        let seen = seen.iter().map(|(from, to, what)| {
            let span = Span { from: *from, to: *to };
            Seen { span, what: *what, is_answer: matches!(what, What::Generation(..)) }
        });
        let history = History { changes: changes.to_vec(), seen: seen.collect() };
        let mut findings = Findings::default();
        history.check(&mut findings);
        [
            findings.lost.len(),
            findings.untold.len(),
            findings.stale.len(),
            findings.stale_answers.len(),
        ]
    }

    use Condition::{Absent, Matches, None as Any};

    #[test]
    fn one_chain() {
        let chain = [
            change(0, 10, Any, set(1)),
            change(20, 30, Matches(1), set(2)),
            change(40, 50, Any, set(3)),
            change(45, 55, Matches(3), set(5)),
            change(60, 70, Matches(5), Effect::Removed),
            change(80, 90, Absent, set(6)),
        ];
        assert_eq!(check(&chain, &[]), [0; 4]);
    }

    #[test]
    fn lost_updates() {
        let first = || change(0, 10, Any, set(1));
        let changes = [first(), change(20, 40, Any, set(2)), change(20, 40, Matches(1), set(3))];
        assert_eq!(check(&changes, &[]), [1, 0, 0, 0], "one in between");
        let changes =
            [first(), change(20, 40, Any, set(2)), change(50, 60, Matches(1), Effect::Removed)];
        assert_eq!(check(&changes, &[]), [1, 0, 0, 0], "removed");
        let changes = [
            first(),
            change(20, 40, Matches(1), set(2)),
            change(20, 40, Matches(1), Effect::Removed),
        ];
        assert_eq!(check(&changes, &[]), [1, 0, 0, 0], "matched twice");
        let untold = |from| {
            let effect = Effect::Untold { serial: Some(70), other: 3 };
            [first(), change(from, 40, Any, effect), change(20, 40, Matches(1), set(3))]
        };
        assert_eq!(check(&untold(20), &[]), [1, 1, 0, 0], "after what was matched");
        assert_eq!(check(&untold(5), &[]), [0, 1, 0, 0], "perhaps before it");
    }

    #[test]
    fn stale_ones() {
        let changes = [
            change(0, 10, Any, set(1)),
            change(20, 30, Any, set(2)),
            change(40, 50, Matches(2), Effect::Removed),
            change(60, 70, Any, set(3)),
        ];
        for (from, to, what, is_right) in [
            (25, 35, What::Serial(10), true),
            (25, 35, What::Serial(20), true),
            (31, 35, What::Serial(10), false),
            (31, 35, What::Serial(20), true),
            (11, 19, What::Serial(20), false),
            (11, 19, What::Serial(99), false),
            (45, 48, What::Serial(20), true),
            (51, 55, What::Serial(20), false),
            (51, 65, What::Serial(30), true),
            (31, 35, What::Nothing, false),
            (45, 48, What::Nothing, true),
            (65, 68, What::Nothing, true),
            (71, 75, What::Nothing, false),
        ] {
            let stale = usize::from(!is_right);
            assert_eq!(check(&changes, &[(from, to, what)]), [0, 0, stale, 0], "{from} {what:?}");
        }
        let answers =
            [(31, 32, What::Generation(1, None)), (31, 32, What::Generation(2, Some(10)))];
        assert_eq!(check(&changes, &answers), [0, 0, 0, 2]);
        // What an answer told of is known from then on.
        let seen = [(22, 24, What::Generation(2, Some(20))), (25, 26, What::Serial(10))];
        assert_eq!(check(&changes, &seen), [0, 0, 1, 0]);
    }

    #[test]
    fn ends() {
        let mut changes = vec![change(0, 10, Any, set(1)), change(20, 30, Any, set(3))];
        let ends = |changes: &[Change], with| {
            History { changes: changes.to_vec(), seen: Vec::new() }.ends_with(with)
        };
        assert!(ends(&changes, Some(3)));
        assert!(!ends(&changes, Some(1)) && !ends(&changes, None));
        changes.extend([change(40, 50, Matches(3), Effect::Removed), change(15, 60, Any, set(2))]);
        assert!(ends(&changes, Some(2)), "drawn before, published after the removal");
    }
}

//! The zone as Prometheus sees it. What is told of names is how long their certificates are valid;
//! everything else is for the zone as a whole.

mod exposition;

use std::time::{Duration, Instant};

use self::exposition::{CONTENT_TYPE, Exposition, Family};
use super::Context;
use super::reply::Reply;
use super::transaction::Next;
use crate::failure::Reason;
use crate::handshakes::Ending;
use crate::store::{Counter, Stats, Store, Surveyed, Totals, Validity};

/// How long a survey may keep the worker from its handshakes at a time.
const SURVEY_TIME: Duration = Duration::from_millis(2);
const SURVEY_PAUSE_MSEC: u64 = 1;

/// The answer with a series for each name.
pub(crate) fn with_names(context: &Context<'_>) -> Reply {
    let mut sets = Sets { members: Some(Vec::new()), totals: Totals::default() };
    let now = context.host.monotonic_msec();
    context.store.survey(&mut |set| sets.add(set, now));
    answer(sets, context)
}

/// The answer without, as far as it gets: `place` is where to go on, 0 at first. A worker looks at what
/// changed since it was asked last.
pub(crate) fn without_names(place: &mut usize, context: &mut Context<'_>) -> Next {
    let (now, end) = (context.host.monotonic_msec(), Instant::now() + SURVEY_TIME);
    let store = context.store;
    match context.resolver.survey().advance(&store, place, now, end) {
        Some(totals) => Next::Done(answer(Sets { members: None, totals }, context)),
        None => Next::Wait { msec: SURVEY_PAUSE_MSEC },
    }
}

fn answer(sets: Sets, context: &Context<'_>) -> Reply {
    let store = &context.store;
    let zone = Zone {
        name: context.zone,
        stats: store.stats(),
        size: store.capacity(),
        counters: Counters::of(store),
        sets,
    };
    Reply {
        detail: None,
        status: 200,
        content_type: CONTENT_TYPE,
        headers: Vec::new(),
        body: render(zone, env!("CARGO_PKG_VERSION")),
    }
}

/// What there is to tell of a zone.
struct Zone<'a> {
    name: &'a str,
    stats: Stats,
    size: u64,
    counters: Counters,
    sets: Sets,
}

struct Counters {
    handshakes: [u64; Ending::ALL.len()],
    load_failures: [u64; Reason::ALL.len()],
    no_room: u64,
    state_errors: u64,
}

impl Counters {
    fn of(store: &Store) -> Counters {
        Counters {
            handshakes: Ending::ALL.map(|e| store.counter(Counter::Handshakes(e.number()))),
            load_failures: Reason::ALL.map(|r| store.counter(Counter::LoadFailures(r.number()))),
            no_room: store.counter(Counter::NoRoom),
            state_errors: store.counter(Counter::StateErrors),
        }
    }
}

/// What a survey of the sets comes to, without lazy sets that are idle.
struct Sets {
    /// Each member with its set's name; `None` when it was not asked for.
    members: Option<Vec<(String, Validity)>>,
    totals: Totals,
}

impl Sets {
    /// That an idle one expires must wake nobody up. `now` is on the clock of `Surveyed::used_msec`.
    fn add(&mut self, set: &Surveyed, now: u64) {
        if set.is_idle(now) {
            return;
        }
        self.totals.add(set);
        if let Some(members) = &mut self.members {
            members.extend(set.members.iter().map(|member| (set.name.clone(), *member)));
        }
    }
}

fn render(zone: Zone<'_>, version: &str) -> String {
    let Zone { name, stats, size, counters, sets } = zone;
    let mut text = Exposition::new(name);
    validity(&mut text, sets.members.unwrap_or_default());
    if let Some(soonest) = sets.totals.soonest_not_after {
        let help = "When the first certificate expires, seconds since the epoch.";
        text.gauge("nginx_shared_cert_soonest_not_after_timestamp_seconds", help)
            .sample(&[], soonest);
    }

    let help = "TLS handshakes, by how they were served.";
    let mut family = text.counter("nginx_shared_cert_handshakes_total", help);
    for (ending, count) in Ending::ALL.into_iter().zip(counters.handshakes) {
        family.sample(&[("status", ending.label())], count);
    }
    let help = "Certificate files that were not taken, once for each state of the files.";
    let mut family = text.counter("nginx_shared_cert_load_failures_total", help);
    for (reason, count) in Reason::ALL.into_iter().zip(counters.load_failures) {
        family.sample(&[("reason", reason.label())], count);
    }
    let help = "Sets that are served although what should have replaced them failed.";
    text.gauge("nginx_shared_cert_update_failing", help).sample(&[], sets.totals.failing);

    let mut family = text.gauge("nginx_shared_cert_sets", "Sets in the zone, by their source.");
    let by_source =
        [("pushed", stats.pushed_sets), ("startup", stats.startup_sets), ("lazy", stats.lazy_sets)];
    for (source, count) in by_source {
        family.sample(&[("source", source)], count);
    }
    text.gauge("nginx_shared_cert_previous_sets", "Sets that are kept for a rollback.")
        .sample(&[], stats.previous_sets);
    text.gauge("nginx_shared_cert_zone_size_bytes", "What the zone has for sets, used or free.")
        .sample(&[], size);
    text.gauge("nginx_shared_cert_zone_free_bytes", "What is free of that.")
        .sample(&[], stats.free_bytes);
    text.counter("nginx_shared_cert_evictions_total", "Lazy sets that made room for others.")
        .sample(&[], stats.evictions);
    let help = "Repairs of the zone after a process was killed while it wrote.";
    text.counter("nginx_shared_cert_repairs_total", help).sample(&[], stats.repairs);
    let help = "Failures of the directory in which pushed sets are kept.";
    text.counter("nginx_shared_cert_state_errors_total", help).sample(&[], counters.state_errors);
    text.counter("nginx_shared_cert_no_room_total", "Pushes that the zone had no room for.")
        .sample(&[], counters.no_room);
    text.gauge("nginx_shared_cert_build_info", "The version of the module.")
        .sample(&[("version", version)], 1);
    text.into_text()
}

fn validity(text: &mut Exposition, mut members: Vec<(String, Validity)>) {
    // A family has a sample.
    if members.is_empty() {
        return;
    }
    members.sort_unstable_by(|(a, x), (b, y)| (a, x.key_type).cmp(&(b, y.key_type)));
    let each = |mut family: Family<'_>, value: fn(&Validity) -> i64| {
        for (name, member) in &members {
            let labels = [("name", name.as_str()), ("key_type", member.key_type.as_str())];
            family.sample(&labels, value(member));
        }
    };
    let help = "When a certificate expires, seconds since the epoch.";
    let family = text.gauge("nginx_shared_cert_not_after_timestamp_seconds", help);
    each(family, |member| member.not_after);
    let help = "From when on a certificate is valid, seconds since the epoch.";
    let family = text.gauge("nginx_shared_cert_not_before_timestamp_seconds", help);
    each(family, |member| member.not_before);
}

#[cfg(test)]
mod tests;

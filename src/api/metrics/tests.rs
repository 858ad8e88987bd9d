use super::*;
use crate::failure::Failure;
use crate::ffi::region::Region;
use crate::record::{KeyType, Source};
use crate::store::IDLE_MSEC;

const NOW: u64 = 2 * IDLE_MSEC;

fn set(name: &str, source: Source, used_msec: u64, not_after: i64) -> Surveyed {
    let member = |key_type, not_after| Validity { key_type, not_before: -5, not_after };
    Surveyed {
        name: name.to_owned(),
        source,
        used_msec,
        last_good: false,
        failure: Failure::NONE,
        members: vec![member(KeyType::Ec, not_after), member(KeyType::Rsa, not_after + 1)],
    }
}

fn sets(names: bool, all: &[Surveyed]) -> Sets {
    let mut sets = Sets { members: names.then(Vec::new), totals: Totals::default() };
    all.iter().for_each(|set| sets.add(set, NOW));
    sets
}

fn text(name: &str, sets: Sets) -> String {
    let store = Store::format(Region::on_heap(64 * 1024)).unwrap();
    store.add(Counter::Handshakes(Ending::Static.number()), 7);
    store.add(Counter::LoadFailures(Reason::Mismatch.number()), 3);
    let (stats, counters) = (store.stats(), Counters::of(&store));
    render(Zone { name, stats, size: store.capacity(), counters, sets }, "1.2.3")
}

/// The samples of a family.
fn samples<'a>(text: &'a str, family: &str) -> Vec<&'a str> {
    let is_of = |line: &&str| line.split('{').next() == Some(family);
    text.lines().filter(is_of).collect()
}

#[test]
fn an_empty_zone() {
    let text = text("certs", sets(true, &[]));
    assert!(!text.contains("_not_after_") && !text.contains("_not_before_"), "{text}");
    for (ending, line) in
        Ending::ALL.iter().zip(samples(&text, "nginx_shared_cert_handshakes_total"))
    {
        let count = if *ending == Ending::Static { 7 } else { 0 };
        let labels = format!("zone=\"certs\",status=\"{}\"", ending.label());
        assert_eq!(line, format!("nginx_shared_cert_handshakes_total{{{labels}}} {count}"));
    }
    let failures = samples(&text, "nginx_shared_cert_load_failures_total");
    assert_eq!(failures.len(), Reason::ALL.len());
    let mismatch = "nginx_shared_cert_load_failures_total{zone=\"certs\",reason=\"mismatch\"} 3";
    assert!(failures.contains(&mismatch), "{failures:?}");
    for (family, count) in [
        ("update_failing", 1),
        ("sets", 3),
        ("previous_sets", 1),
        ("zone_size_bytes", 1),
        ("zone_free_bytes", 1),
        ("evictions_total", 1),
        ("repairs_total", 1),
        ("state_errors_total", 1),
        ("no_room_total", 1),
        ("build_info", 1),
    ] {
        assert_eq!(samples(&text, &format!("nginx_shared_cert_{family}")).len(), count, "{family}");
    }
    assert!(text.ends_with("nginx_shared_cert_build_info{zone=\"certs\",version=\"1.2.3\"} 1\n"));
}

#[test]
fn every_family_is_told_of_and_in_one_piece() {
    let text = text("certs", sets(true, &[set("a.test", Source::Pushed, NOW, 10)]));
    let mut seen = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let name = rest.split(' ').next().unwrap();
            assert!(name.starts_with("nginx_shared_cert_") && !seen.contains(&name), "{name}");
            let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
            assert_eq!(lines.next(), Some(format!("# TYPE {name} {kind}").as_str()));
            seen.push(name);
        } else {
            assert_eq!(line.split('{').next(), seen.last().copied());
        }
    }
    assert_eq!(seen.len(), 15);
}

#[test]
fn names_are_sorted_and_escaped() {
    let all = [
        set("b.test", Source::Startup, NOW, 20),
        set("_.a.test", Source::Pushed, NOW, 30),
        set("a\"\\.test", Source::Pushed, NOW, 40),
    ];
    let text = text("a\\b", sets(true, &all));
    let family = "nginx_shared_cert_not_after_timestamp_seconds";
    let line = |name: &str, key_type: &str, value: i64| {
        format!("{family}{{zone=\"a\\\\b\",name=\"{name}\",key_type=\"{key_type}\"}} {value}")
    };
    let expected = [
        line("_.a.test", "RSA", 31),
        line("_.a.test", "EC", 30),
        line("a\\\"\\\\.test", "RSA", 41),
        line("a\\\"\\\\.test", "EC", 40),
        line("b.test", "RSA", 21),
        line("b.test", "EC", 20),
    ];
    assert_eq!(samples(&text, family), expected);
    let before = samples(&text, "nginx_shared_cert_not_before_timestamp_seconds");
    assert_eq!(before.len(), 6);
    assert!(before.iter().all(|line| line.ends_with("} -5")), "{before:?}");
}

#[test]
fn without_names_the_soonest_stays() {
    let all = [set("a.test", Source::Pushed, NOW, 20), set("b.test", Source::Lazy, NOW, -10)];
    let text = text("certs", sets(false, &all));
    assert!(!text.contains("a.test") && !text.contains("key_type"), "{text}");
    let family = "nginx_shared_cert_soonest_not_after_timestamp_seconds";
    assert_eq!(samples(&text, family), [format!("{family}{{zone=\"certs\"}} -10")]);
}

#[test]
fn idle_lazy_names_leave() {
    let last = NOW - IDLE_MSEC;
    let of = |source, used_msec| {
        let sets = sets(true, &[set("a.test", source, used_msec, 10)]);
        assert_eq!(
            sets.members.is_some_and(|m| m.is_empty()),
            sets.totals.soonest_not_after.is_none()
        );
        sets.totals.soonest_not_after
    };
    assert_eq!(of(Source::Lazy, last), Some(10));
    assert_eq!(of(Source::Lazy, last - 1), None);
    assert_eq!(of(Source::Startup, last - 1), Some(10));
    assert_eq!(of(Source::Pushed, 1), Some(10));
    // Not known, and ahead of this process' clock.
    assert_eq!(of(Source::Lazy, 0), Some(10));
    assert_eq!(of(Source::Lazy, NOW + 1), Some(10));
}

#[test]
fn sets_that_fail_are_counted_once() {
    let failure = Failure::noted(Failure::NONE, Reason::NoRoom, 5);
    let good = set("a.test", Source::Pushed, NOW, 10);
    let idle = set("b.test", Source::Lazy, 1, 10);
    let all = [
        good.clone(),
        Surveyed { last_good: true, ..good.clone() },
        Surveyed { failure, ..good.clone() },
        Surveyed { failure, last_good: true, ..good },
        Surveyed { failure, ..idle },
    ];
    assert_eq!(sets(true, &all).totals.failing, 3);
}

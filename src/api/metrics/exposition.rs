//! Prometheus' text format, version 0.0.4: families of samples, each with its HELP and TYPE.

use std::fmt::{Display, Write};

/// What the format calls itself.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A text that grows by families. Every sample has the label `zone`, by which those of several
/// locations are told apart.
pub(super) struct Exposition {
    /// `zone="..."`, escaped.
    zone: String,
    text: String,
}

impl Exposition {
    pub(super) fn new(zone: &str) -> Exposition {
        let mut label = String::new();
        push_label(&mut label, "zone", zone);
        Exposition { zone: label, text: String::new() }
    }

    /// Begins the family of a value that rises and falls; `help` is one line.
    pub(super) fn gauge(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "gauge", help)
    }

    /// Begins the family of a value that only rises, but for a zone that begins anew.
    pub(super) fn counter(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "counter", help)
    }

    fn family(&mut self, name: &'static str, kind: &str, help: &str) -> Family<'_> {
        // Writing to a String does not fail; so below.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Family { name, exposition: self }
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }
}

/// A family that was begun: what follows are its samples.
pub(super) struct Family<'a> {
    name: &'static str,
    exposition: &'a mut Exposition,
}

impl Family<'_> {
    /// The value for these labels, besides `zone`.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        let Exposition { zone, text } = &mut *self.exposition;
        text.push_str(self.name);
        text.push('{');
        text.push_str(zone);
        for (name, value) in labels {
            text.push(',');
            push_label(text, name, value);
        }
        let _ = writeln!(text, "}} {value}");
    }
}

fn push_label(text: &mut String, name: &str, value: &str) {
    text.push_str(name);
    text.push_str("=\"");
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families() {
        let mut exposition = Exposition::new("certs");
        exposition.gauge("a", "An a.").sample(&[], 1);
        let mut family = exposition.counter("b_total", "All b.");
        family.sample(&[("x", "1"), ("y", "2")], -3);
        family.sample(&[("x", "2"), ("y", "")], u64::MAX);
        let text = "# HELP a An a.\n\
                    # TYPE a gauge\n\
                    a{zone=\"certs\"} 1\n\
                    # HELP b_total All b.\n\
                    # TYPE b_total counter\n\
                    b_total{zone=\"certs\",x=\"1\",y=\"2\"} -3\n\
                    b_total{zone=\"certs\",x=\"2\",y=\"\"} 18446744073709551615\n";
        assert_eq!(exposition.into_text(), text);
    }

    #[test]
    fn label_values_are_escaped() {
        let mut exposition = Exposition::new("a\"b");
        exposition.gauge("a", "An a.").sample(&[("x", "\\ \" \n \t é")], 1);
        let text = exposition.into_text();
        let last = text.lines().last();
        assert_eq!(last, Some("a{zone=\"a\\\"b\",x=\"\\\\ \\\" \\n \t é\"} 1"));
    }
}

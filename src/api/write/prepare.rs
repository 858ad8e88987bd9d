//! Whether a change may be made, and what it then is.

use super::{
    Change, Kind, NewSet, Prepared, PreparedKind, Refused, check_configuration, no_previous,
    note_accepted, note_refused, present_or_not_found, superseded, unusable, with_changed,
};
use crate::api::reply::Reply;
use crate::api::route::PutOptions;
use crate::api::{Context, describe};
use crate::certificate::{CertificateSet, server_names_of};
use crate::record::{KeyType, Record, Source};
use crate::replacement::{covers_none, judge, names_of};
use crate::server_name::ServerName;
use crate::state::{Generation, StateEntry};
use crate::store::{Details, Expects, Lookup, Previous};

/// A certificate that becomes valid this soon is taken for valid, s.
const CLOCK_SKEW_SECONDS: i64 = 300;

impl Change {
    /// Looks at what is there, and changes nothing.
    pub(crate) fn prepare(
        &self,
        on_disk: OnDisk<'_>,
        context: &mut Context<'_>,
    ) -> Result<Prepared, Refused> {
        if context.store.is_superseded() {
            return Err(superseded().into());
        }
        check_configuration(context)?;
        match &self.kind {
            Kind::Put { set, digest, options } => {
                self.put_set(set, *digest, *options, on_disk, context)
            }
            Kind::Delete => self.remove(context),
            Kind::Rollback { force } => self.roll_back(*force, on_disk, context),
            Kind::DropPrevious => {
                let details = present_or_not_found(&self.name, context)?;
                self.precondition.check(Some(details.generation))?;
                if previous(&details, on_disk).is_none() {
                    return Err(no_previous(&self.name).into());
                }
                let expects = Expects::Generation(details.generation);
                let is_pushed = details.record.source == Source::Pushed;
                let entry = is_pushed.then(|| {
                    Box::new(StateEntry {
                        name: self.name.clone(),
                        seen: details.entry.seen,
                        current: generation_of(details.generation, details.record),
                        previous: None,
                    })
                });
                Ok(self.prepared(expects, PreparedKind::DropPrevious { entry }))
            }
        }
    }

    fn prepared(&self, expects: Expects, kind: PreparedKind) -> Prepared {
        let is_conditional = self.precondition.is_any();
        Prepared { name: self.name.clone(), expects, is_conditional, kind }
    }

    fn put_set(
        &self,
        pushed: &CertificateSet,
        digest: [u8; 16],
        options: PutOptions,
        on_disk: OnDisk<'_>,
        context: &mut Context<'_>,
    ) -> Result<Prepared, Refused> {
        let present = match context.store.details(self.name.as_str()) {
            Lookup::Found(details) => Some(details),
            Lookup::Absent => None,
            Lookup::Contended => return Err(Refused::Busy),
        };
        let generation = present.as_ref().map(|details| details.generation);
        let expects = self.precondition.check(generation)?;
        let serving = present.as_ref().and_then(|details| {
            CertificateSet::from_record(&details.record, context.resolver.parser()).ok()
        });

        let merged = serving.as_ref().filter(|_| options.add);
        let merged = merged.map(|serving| pushed.with_members_of(serving));
        let set = merged.as_ref().unwrap_or(pushed);
        if let (Some(details), true) = (&present, options.unless_previous) {
            let previous = previous(details, on_disk)
                .and_then(|it| CertificateSet::from_record(it, context.resolver.parser()).ok());
            if previous.is_some_and(|previous| set.is_same_as(&previous)) {
                return Err(unchanged(&self.name, details, true, context).into());
            }
        }
        check(set, serving.as_ref(), options, context).inspect_err(|reply| {
            note_refused(&self.name, reply, options, context);
        })?;
        if let (Some(details), Some(serving)) = (&present, &serving) {
            let is_there = details.record.source == Source::Pushed
                && set.is_same_as(serving)
                && on_disk.has(details.generation);
            let is_to_go = options.drops_previous && previous(details, on_disk).is_some();
            if is_there && !is_to_go {
                // Under the lock: a writer that is at it, or died in it, has not told all workers of
                // the set yet. The next one does.
                let store = context.store;
                let Some(writer) = store.write(context.host.lock()) else {
                    return Err(Refused::Busy);
                };
                let now = store.generation(self.name.as_str());
                drop(writer);
                if now != Lookup::Found(details.generation) {
                    return Err(Refused::Busy);
                }
                if !options.dry_run {
                    note_accepted(&self.name, details.entry.failure, context);
                }
                return Err(unchanged(&self.name, details, false, context).into());
            }
        }

        let record = set.to_record(Source::Pushed, digest).map_err(|error| {
            context.host.alert(format_args!("certificate \"{}\": {error}", self.name));
            Reply::problem(500, "internal error", "see the error log")
        })?;
        let lost = set.uncovered(&names_of(serving.as_ref()));
        let present_types = present.iter().flat_map(|details| details.record.key_types());
        let lost_key_types: Vec<KeyType> = KeyType::lost(present_types, set.key_types()).collect();
        if options.dry_run {
            let now = context.host.unix_seconds();
            let lost = describe::instead(&lost, &self.name, &context.store, now);
            let name = self.name.as_str();
            let body = describe::dry_run(name, &record, generation, lost, &lost_key_types);
            return Err(Reply::json(200, &body).into());
        }
        // What is merged with is what is replaced.
        let expects = match (expects, generation) {
            (Expects::Any, Some(generation)) if options.add => Expects::Generation(generation),
            (Expects::Any, None) if options.add => Expects::Absent,
            (expects, _) => expects,
        };
        let new = NewSet {
            served: set.names().map(str::to_owned).collect(),
            record,
            generation: context.store.next_ticket(),
            previous: if options.drops_previous { Previous::Drop } else { Previous::Keep },
            stat: present.as_ref().map_or(0, |details| details.entry.stat),
            seen: context.resolver.seen_files(&self.name),
            verb: "pushed",
            lost,
            lost_key_types,
            replaces: present.map(|details| generation_of(details.generation, details.record)),
        };
        Ok(self.prepared(expects, PreparedKind::Publish(Box::new(new))))
    }

    fn remove(&self, context: &mut Context<'_>) -> Result<Prepared, Refused> {
        let details = present_or_not_found(&self.name, context)?;
        if details.record.source != Source::Pushed {
            let detail = format!("\"{}\" was not pushed: it is read from files", self.name);
            return Err(Reply::problem(404, "no such pushed set", &detail).into());
        }
        self.precondition.check(Some(details.generation))?;
        let kind = PreparedKind::Remove { served: server_names_of(&details.record) };
        Ok(self.prepared(Expects::Generation(details.generation), kind))
    }

    fn roll_back(
        &self,
        force: bool,
        on_disk: OnDisk<'_>,
        context: &mut Context<'_>,
    ) -> Result<Prepared, Refused> {
        let details = present_or_not_found(&self.name, context)?;
        self.precondition.check(Some(details.generation))?;
        let Some(mut record) = previous(&details, on_disk).cloned() else {
            let detail = format!("no previous generation of \"{}\" is kept", self.name);
            return Err(Reply::problem(409, "no previous generation", &detail).into());
        };
        let set = CertificateSet::from_record(&record, context.resolver.parser())
            .map_err(|error| unusable(&format!("the previous generation: {error}")))?;
        if set.expired_at(context.host.unix_seconds()) && !force {
            let detail = "its certificate has expired; ?force=1 serves it all the same";
            return Err(Reply::problem(409, "the previous generation has expired", detail).into());
        }
        context.host.accepts(&set).map_err(|reason| unusable(&reason))?;

        record.source = Source::Pushed;
        let new = NewSet {
            served: set.names().map(str::to_owned).collect(),
            lost_key_types: KeyType::lost(details.record.key_types(), record.key_types()).collect(),
            record,
            generation: context.store.next_ticket(),
            previous: Previous::Keep,
            stat: details.entry.stat,
            // What the files hold is what was rolled back from: they do not come back by themselves.
            seen: context.resolver.seen_files(&self.name),
            verb: "rolled back",
            lost: set.uncovered(&server_names_of(&details.record)),
            replaces: Some(generation_of(details.generation, details.record)),
        };
        let kind = PreparedKind::Publish(Box::new(new));
        Ok(self.prepared(Expects::Generation(details.generation), kind))
    }
}

/// What the state directory has of the NAME.
#[derive(Clone, Copy)]
pub(crate) struct OnDisk<'a> {
    /// Whether there is a directory.
    pub(crate) is_kept: bool,
    pub(crate) entry: Option<&'a StateEntry>,
}

impl OnDisk<'_> {
    /// Whether a generation is where it has to be.
    fn has(self, generation: u64) -> bool {
        !self.is_kept || self.entry.is_some_and(|entry| entry.current.number == generation)
    }
}

/// The set before the present one. One that had to make room in the zone is on disk still.
fn previous<'a>(details: &'a Details, on_disk: OnDisk<'a>) -> Option<&'a Record> {
    let in_zone = details.previous.as_ref().map(|(_, record)| record);
    let on_disk = on_disk.entry.filter(|entry| entry.current.number == details.generation);
    in_zone.or_else(|| Some(&on_disk?.previous.as_ref()?.record))
}

fn generation_of(number: u64, record: Record) -> Generation {
    Generation { number, record }
}

/// Whether a pushed set may take the place of what serves.
fn check(
    set: &CertificateSet,
    serving: Option<&CertificateSet>,
    options: PutOptions,
    context: &Context<'_>,
) -> Result<(), Reply> {
    let now = context.host.unix_seconds();
    if set.names().next().is_none() {
        return Err(unusable("the certificate does not cover any server name"));
    }
    if set.not_yet_valid_at(now + CLOCK_SKEW_SECONDS) {
        return Err(unusable("the certificate is not yet valid"));
    }
    judge(set, serving, true, context.host).map_err(|bad| unusable(&bad.text))?;
    if options.force {
        return Ok(());
    }
    let present = names_of(serving);
    if covers_none(&present, set) {
        return Err(unusable(
            "the certificate covers none of the names of the set that it would replace; \
             ?force=1 replaces it all the same",
        ));
    }
    if serving.is_some_and(|serving| set.lacks_intermediates_of(serving)) {
        return Err(unusable(
            "the certificate comes without the intermediate one that clients need, which the present \
             set has; ?force=1 replaces it all the same",
        ));
    }
    // Who adds a key type does not mean to end a name.
    let lost = set.uncovered(&present);
    if options.add && !lost.is_empty() {
        let without = describe::without(&lost);
        return Err(unusable(&format!(
            "a set serves the names that all its certificates have: it would be{}; ?force=1 adds \
             it all the same",
            without.trim_start_matches(',')
        )));
    }
    Ok(())
}

/// The answer where nothing is to be done: it is there, or it `is_previous`, and the caller does not want to
/// undo a rollback.
fn unchanged(
    name: &ServerName,
    details: &Details,
    is_previous: bool,
    context: &Context<'_>,
) -> Reply {
    let now = context.host.unix_seconds();
    let set = describe::set(name.as_str(), details, &context.store, now);
    let mut body = with_changed(set, false);
    if let (Some(members), true) = (body.as_object_mut(), is_previous) {
        members.insert("is_previous".to_owned(), true.into());
    }
    Reply::json(200, &body).with_etag(details.generation)
}

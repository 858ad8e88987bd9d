//! Calls that change the set of a NAME: what is to be done is found out first, then done by one
//! step under the zone's lock, which is tried until it can be had.

mod prepare;
mod refusals;

pub(crate) use prepare::OnDisk;
pub(crate) use refusals::*;

use openssl::sha::sha256;
use serde_json::{Value, json};

use super::disk::DiskChange;
use super::precondition::{self, Precondition};
use super::reply::Reply;
use super::route::PutOptions;
use super::{Context, describe, show};
use crate::certificate::CertificateSet;
use crate::failure::{Failure, Reason};
use crate::lookup::Load;
use crate::record::{KeyType, Record};
use crate::server_name::ServerName;
use crate::state::{Generation, StateEntry};
use crate::store::{
    Counter, Details, Expects, Lookup, Previous, Publication, PublishError, Writer,
};

/// A change that was asked for.
pub(crate) struct Change {
    name: ServerName,
    precondition: Precondition,
    kind: Kind,
}

enum Kind {
    Put { set: CertificateSet, digest: [u8; 16], options: PutOptions },
    Delete,
    Rollback { force: bool },
    DropPrevious,
}

/// A change that may be made, as the zone was a moment ago.
pub(crate) struct Prepared {
    name: ServerName,
    expects: Expects,
    /// A caller's own condition: when it does not hold any more, that is the answer.
    is_conditional: bool,
    kind: PreparedKind,
}

enum PreparedKind {
    Publish(Box<NewSet>),
    Remove {
        /// The names that it serves.
        served: Vec<ServerName>,
    },
    DropPrevious {
        /// The entry without it, when the set was pushed, so that it is on disk.
        entry: Option<Box<StateEntry>>,
    },
}

/// A set that is to be published.
struct NewSet {
    record: Record,
    served: Vec<String>,
    generation: u64,
    previous: Previous,
    /// As `store::Entry`.
    stat: u64,
    seen: u64,
    /// As in the log.
    verb: &'static str,
    /// The names of the present set that this one is not good for.
    lost: Vec<ServerName>,
    /// The key types of the present set that this one does not have.
    lost_key_types: Vec<KeyType>,
    /// What it takes the place of.
    replaces: Option<Generation>,
}

/// Why a change is not made.
pub(crate) enum Refused {
    With(Reply),
    /// Another process is writing: the same again, later.
    Busy,
    /// The set changed meanwhile: to be prepared anew.
    Changed,
}

impl From<Reply> for Refused {
    fn from(reply: Reply) -> Refused {
        Refused::With(reply)
    }
}

impl Change {
    /// A push: `body` is PEM, the certificates and keys of a set.
    pub(crate) fn put(
        name: ServerName,
        precondition: Precondition,
        options: PutOptions,
        body: &[u8],
        context: &mut Context<'_>,
    ) -> Result<Change, Reply> {
        let parsed = CertificateSet::from_bundle(body, context.resolver.parser());
        let set = parsed.map_err(bad_body).inspect_err(|reply| {
            note_refused(&name, reply, options, context);
        })?;
        let [digest, _] = halves(sha256(body));
        Ok(Change { name, precondition, kind: Kind::Put { set, digest, options } })
    }

    pub(crate) fn delete(name: ServerName, precondition: Precondition) -> Change {
        Change { name, precondition, kind: Kind::Delete }
    }

    pub(crate) fn rollback(name: ServerName, precondition: Precondition, force: bool) -> Change {
        Change { name, precondition, kind: Kind::Rollback { force } }
    }

    pub(crate) fn drop_previous(name: ServerName, precondition: Precondition) -> Change {
        Change { name, precondition, kind: Kind::DropPrevious }
    }

    /// NAME of the set.
    pub(crate) fn name(&self) -> &ServerName {
        &self.name
    }
}

fn halves(digest: [u8; 32]) -> [[u8; 16]; 2] {
    let (first, second) = digest.split_at(16);
    [first, second].map(|half| half.try_into().unwrap_or_default())
}

/// Tells of a push whose content was refused, and notes it of the set that is there; best effort, for
/// an answer does not wait for others.
fn note_refused(name: &ServerName, reply: &Reply, options: PutOptions, context: &Context<'_>) {
    if options.dry_run {
        return;
    }
    let store = context.store;
    store.add(Counter::LoadFailures(Reason::RefusedPush.number()), 1);
    tell_refused(name, reply, context);
    let Some(mut writer) = store.write(context.host.lock()) else { return };
    note_failure(name, Reason::RefusedPush, &mut writer, context);
}

fn tell_refused(name: &ServerName, reply: &Reply, context: &Context<'_>) {
    // Who asks by If-Match reckons with it.
    if reply.status == 412 {
        return;
    }
    let detail = reply.detail.as_deref().unwrap_or_default();
    context.host.warn(format_args!("certificate \"{name}\": a push was refused: {detail}"));
}

/// What serves was pushed again: that an earlier push was refused is mended. Best effort, as above.
fn note_accepted(name: &ServerName, failure: u64, context: &Context<'_>) {
    let mended = Failure::without_push(failure);
    if mended == failure {
        return;
    }
    let store = context.store;
    if let Some(mut writer) = store.write(context.host.lock()) {
        writer.set_failure(name.as_str(), mended);
    }
}

fn note_failure(name: &ServerName, reason: Reason, writer: &mut Writer<'_>, context: &Context<'_>) {
    if let Lookup::Found(entry) = context.store.find(name.as_str()) {
        let failure = Failure::noted(entry.failure, reason, context.host.unix_seconds());
        writer.set_failure(name.as_str(), failure);
    }
}

impl Prepared {
    /// Makes the change in the zone, if that is still as it was.
    pub(crate) fn commit(&self, context: &mut Context<'_>) -> Result<Reply, Refused> {
        let store = context.store;
        let Some(mut writer) = store.write(context.host.lock()) else {
            return Err(if store.is_superseded() { superseded().into() } else { Refused::Busy });
        };
        check_configuration(context)?;
        match &self.kind {
            PreparedKind::Publish(new) => {
                if let Err(refused) = self.publish(new, &mut writer, context) {
                    drop(writer);
                    if let Refused::With(reply) = &refused {
                        tell_refused(&self.name, reply, context);
                    }
                    return Err(refused);
                }
                // Before anybody can replace it: the ETag must not be of a set that the caller has
                // not seen.
                let details = store.details(self.name.as_str());
                drop(writer);
                Ok(self.published(new, details, context))
            }
            PreparedKind::Remove { served } => {
                writer
                    .remove_if(self.name.as_str(), self.expects)
                    .map_err(|unexpected| self.unexpected(unexpected.present))?;
                drop(writer);
                Ok(self.removed(served, context))
            }
            PreparedKind::DropPrevious { .. } => {
                let present = match store.details(self.name.as_str()) {
                    Lookup::Found(now) => Some(now.generation),
                    Lookup::Absent => None,
                    Lookup::Contended => return Err(Refused::Busy),
                };
                if present.map(Expects::Generation) != Some(self.expects) {
                    return Err(self.unexpected(present));
                }
                writer.drop_previous(self.name.as_str());
                drop(writer);
                context
                    .host
                    .notice(format_args!("certificate \"{}\": previous one dropped", self.name));
                let body = json!({ "name": self.name.as_str(), "dropped": true });
                Ok(Reply::json(200, &body))
            }
        }
    }

    /// What it is on disk; `None` for a set that is not there.
    pub(crate) fn disk_change(&self) -> Option<DiskChange> {
        let entry = |seen, current, previous| {
            let name = self.name.clone();
            Some(DiskChange::Write(Box::new(StateEntry { name, seen, current, previous })))
        };
        match &self.kind {
            PreparedKind::Publish(new) => {
                let current = Generation { number: new.generation, record: new.record.clone() };
                let is_kept = new.previous == Previous::Keep;
                entry(new.seen, current, new.replaces.clone().filter(|_| is_kept))
            }
            PreparedKind::Remove { .. } => match self.expects {
                Expects::Generation(generation) => Some(DiskChange::Remove(generation)),
                Expects::Any | Expects::Absent => None,
            },
            PreparedKind::DropPrevious { entry } => entry.clone().map(DiskChange::Write),
        }
    }

    fn publish(
        &self,
        new: &NewSet,
        writer: &mut Writer<'_>,
        context: &Context<'_>,
    ) -> Result<(), Refused> {
        let served: Vec<&str> = new.served.iter().map(String::as_str).collect();
        let publication = Publication {
            name: self.name.as_str(),
            record: &new.record,
            served: &served,
            ticket: new.generation,
            generation: new.generation,
            now_msec: context.host.monotonic_msec(),
            stat: new.stat,
            seen: new.seen,
            previous: new.previous,
            expects: self.expects,
            leaves_room: true,
        };
        match writer.publish(&publication) {
            Ok(_) => Ok(()),
            Err(PublishError::Overtaken) => match context.store.details(self.name.as_str()) {
                // Prepared anew, this one is the later one. To let it pass as replaced would lose it
                // to a push that matched the set before, and so does not know of it.
                Lookup::Found(now) => Err(self.unexpected(Some(now.generation))),
                Lookup::Absent => Err(self.unexpected(None)),
                Lookup::Contended => Err(Refused::Busy),
            },
            Err(PublishError::Unexpected { present }) => Err(self.unexpected(present)),
            Err(PublishError::Full { needed, free }) => {
                context.store.add(Counter::NoRoom, 1);
                context.store.add(Counter::LoadFailures(Reason::NoRoom.number()), 1);
                note_failure(&self.name, Reason::NoRoom, writer, context);
                let detail = format!(
                    "{needed} bytes are needed, {free} are free: make the zone larger, or delete sets"
                );
                Err(Reply::problem(507, "the zone is full", &detail).into())
            }
        }
    }

    fn unexpected(&self, present: Option<u64>) -> Refused {
        if self.is_conditional { precondition::failed(present).into() } else { Refused::Changed }
    }

    fn published(&self, new: &NewSet, details: Lookup<Details>, context: &Context<'_>) -> Reply {
        let name = self.name.as_str();
        context.host.notice(format_args!(
            "certificate \"{name}\" {}, generation {}{}{}",
            new.verb,
            new.generation,
            describe::without(&new.lost),
            describe::without_key_types(&new.lost_key_types)
        ));
        let status = if new.replaces.is_none() { 201 } else { 200 };
        let Lookup::Found(details) = details else {
            let body = json!({ "name": name, "changed": true, "generation": new.generation });
            return Reply::json(status, &body).with_etag(new.generation);
        };
        let now = context.host.unix_seconds();
        let mut body = with_changed(describe::set(name, &details, &context.store, now), true);
        if let Some(members) = body.as_object_mut() {
            if !new.lost.is_empty() {
                let lost = describe::instead(&new.lost, &self.name, &context.store, now);
                members.insert("no_longer_served".to_owned(), lost.into());
            }
            if !new.lost_key_types.is_empty() {
                let lost = describe::labels(&new.lost_key_types);
                members.insert("lost_key_types".to_owned(), lost.into());
            }
        }
        Reply::json(status, &body).with_etag(details.generation)
    }

    fn removed(&self, served: &[ServerName], context: &mut Context<'_>) -> Reply {
        context.host.notice(format_args!("certificate \"{}\" removed", self.name));
        let now = context.host.unix_seconds();
        let names = describe::instead(served, &self.name, &context.store, now);
        let files = match context.settings.load {
            Load::Lazy => Some("they are read at the next handshake, where there are any"),
            Load::Startup => Some("they are read at the next reload, where there are any"),
            Load::Off => None,
        };
        Reply::json(
            200,
            &json!({
                "name": self.name.as_str(),
                "removed": true,
                "names": names,
                "files": files,
            }),
        )
    }
}

fn with_changed(mut set: Value, changed: bool) -> Value {
    if let Some(members) = set.as_object_mut() {
        members.insert("changed".to_owned(), changed.into());
    }
    set
}

/// A worker of an earlier configuration knows the state directory of that one only.
fn check_configuration(context: &Context<'_>) -> Result<(), Reply> {
    if context.resolver.may_write() {
        return Ok(());
    }
    Err(old_worker())
}

/// The set of a NAME that a call is about.
fn present_or_not_found(
    name: &ServerName,
    context: &Context<'_>,
) -> Result<crate::store::Details, Refused> {
    match context.store.details(name.as_str()) {
        Lookup::Found(details) => Ok(details),
        Lookup::Absent => Err(show::not_found(name).into()),
        Lookup::Contended => Err(Refused::Busy),
    }
}

#[cfg(test)]
mod tests;

//! Entries of names whose files took the place of what was pushed.

use super::report;
use crate::host::Host;
use crate::record::Source;
use crate::server_name::ServerName;
use crate::state::{Durable, Flush, Ownership, Removed, StateError};
use crate::store::{Lookup, Store};

/// Removes those of all names, in the master.
pub(crate) fn forget_replaced(durable: &Durable, store: &Store, host: &dyn Host) {
    let is_replaced = |name: &ServerName| match store.find(name.as_str()) {
        Lookup::Found(entry) => entry.source != Source::Pushed,
        Lookup::Absent | Lookup::Contended => false,
    };
    let forgotten = durable.directory().list().and_then(|there| {
        let mut replaced = there.entries.iter().filter(|name| is_replaced(name));
        replaced.try_for_each(|name| forget(durable, name, store).map(drop))
    });
    if let Err(error) = forgotten {
        report(&error, store, host);
    }
}

/// Removes the entry of a name unless what was pushed is served; false when another process is
/// writing it.
pub(super) fn forget(
    durable: &Durable,
    name: &ServerName,
    store: &Store,
) -> Result<bool, StateError> {
    let Some(mut shard) = durable.directory().lock(name)? else { return Ok(false) };
    if durable.ownership()? != Ownership::Mine {
        return Ok(true);
    }
    let is_pushed = match store.find(name.as_str()) {
        Lookup::Found(entry) => entry.source == Source::Pushed,
        Lookup::Absent => true,
        Lookup::Contended => return Ok(false),
    };
    if is_pushed || shard.unsettled()?.is_some() {
        return Ok(is_pushed);
    }
    let Lookup::Found(present) = store.generation(name.as_str()) else { return Ok(false) };
    // What comes back with the machine is found older than the files again. A later one is not what
    // the files replaced.
    match shard.remove(name, present, Flush::Later)? {
        Removed::Done | Removed::Absent => shard.settle()?,
        Removed::Older(_) => {}
    }
    Ok(true)
}

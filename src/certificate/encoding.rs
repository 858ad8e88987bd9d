//! A set to a record of the zone and back. The way back is that of a cache miss: DER only, nothing
//! checked again that was checked before the record was published.

use openssl::x509::X509;

use super::error::{EmptyErrorQueue, SetError};
use super::key::Key;
use super::leaf::Leaf;
use super::member::Member;
use super::names::{self, Names};
use super::{CertificateSet, Parser};
use crate::record::{MemberRecord, Record, Source};
use crate::server_name::ServerName;

impl CertificateSet {
    /// The set as plain bytes. Leaves OpenSSL's error queue empty.
    pub(crate) fn to_record(&self, source: Source, digest: [u8; 16]) -> Result<Record, SetError> {
        let _queue = EmptyErrorQueue;
        let members = self.members.iter();
        Ok(Record {
            source,
            digest,
            not_before: members.clone().map(Member::not_before).max().unwrap_or_default(),
            not_after: members.clone().map(Member::not_after).max().unwrap_or_default(),
            members: members.map(member_record).collect::<Result<_, _>>()?,
        })
    }

    /// The set in a record. Leaves OpenSSL's error queue empty.
    pub(crate) fn from_record(
        record: &Record,
        parser: &mut Parser,
    ) -> Result<CertificateSet, SetError> {
        let _queue = EmptyErrorQueue;
        let members = record.members.iter().map(|record| member(record, parser));
        CertificateSet::new(members.collect::<Result<_, _>>()?).ok_or(SetError::NoCertificate)
    }
}

/// The names that all members of a record are good for, each once. Private and public keys
/// are left alone, so that it is little work for each set of a large directory at a start. `None`
/// when a leaf cannot be read, or there is none. Leaves OpenSSL's error queue empty.
#[allow(dead_code)]
pub(crate) fn names_of_leaves(record: &Record) -> Option<Vec<String>> {
    let _queue = EmptyErrorQueue;
    let of = |member: &MemberRecord| Names::of_der(&member.leaf);
    let all = record.members.iter().map(of).collect::<Result<Vec<_>, _>>().ok()?;
    (!all.is_empty()).then(|| names::common(all.iter()).map(str::to_owned).collect())
}

/// As `names_of_leaves()`, as server names; none where a leaf cannot be read.
pub(crate) fn server_names_of(record: &Record) -> Vec<ServerName> {
    let names = names_of_leaves(record).unwrap_or_default();
    names.iter().filter_map(|name| ServerName::from_operator(name.as_bytes())).collect()
}

fn member_record(member: &Member) -> Result<MemberRecord, SetError> {
    let chain = member.chain().iter().map(|c| c.to_der()).collect::<Result<_, _>>();
    Ok(MemberRecord {
        key_type: member.key_type(),
        not_before: member.not_before(),
        not_after: member.not_after(),
        leaf: member.leaf_der()?,
        key: member.take_pkcs8()?,
        chain: chain.map_err(SetError::certificate)?,
    })
}

fn member(record: &MemberRecord, parser: &mut Parser) -> Result<Member, SetError> {
    let leaf = X509::from_der(&record.leaf).map_err(SetError::certificate)?;
    let key = parser.decoder.decode(record.key_type, &record.key).map_err(SetError::key)?;
    let chain = parser.chains.parsed(&record.chain).map_err(SetError::certificate)?;
    let leaf = Leaf::decoded(leaf, &record.leaf).map_err(SetError::certificate)?;
    Ok(Member::new(record.key_type, leaf, Key::recorded(key), chain))
}

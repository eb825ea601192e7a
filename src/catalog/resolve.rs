//! Name -> version under the active snapshot.
//!
//! Once per statement and call site the alias (or, for a pinned version, the version itself) is looked up under the
//! statement's own snapshot, so that all rows of a statement, its parallel workers included, see one version, and
//! the next statement sees a promotion. Everything behind that row is remembered: versions never change, and a
//! counter that invalidation messages bump ([`super::generation`]) tells when to look again.

use super::error::CatalogError;
use super::moment::Moment;
use super::privilege::{self, Privilege};
use super::table::{self, ALIASES, Identity, Key, MODELS, Row, VERSIONS};
use super::{generation, invalidation, memo, restore};
use crate::error::{Report, Result};
use crate::guc;
use crate::scoring::{self, Model, Traffic, Versions};
use crate::text;
use ltv_core::schema::Schema;
use pgrx::pg_sys;
use pgrx::prelude::PgSqlErrorCode;
use std::cell::RefCell;
use std::rc::Rc;

/// What was found behind a row of the catalog.
struct Known {
    name: String,
    version: i32,
    pinned: bool,
    /// The row that was looked up: of the alias, or of the version if pinned.
    identity: Identity,
    generation: u64,
    role: pg_sys::Oid,
    checksum: String,
    schema: Rc<str>,
}

thread_local! {
    static KNOWN: RefCell<Vec<Known>> = const { RefCell::new(Vec::new()) };
}

/// Names remembered at most.
const KNOWN_LIMIT: usize = 64;

/// A row that a name leads to.
struct Found {
    version: i32,
    identity: Identity,
}

/// The challenger, if it scores some of the customers.
struct Share {
    found: Found,
    share: f64,
    id_column: Option<String>,
}

/// What a call scores with: the champion, with its challenger if that has a share of the traffic, or the pinned
/// version. Looked up under the active snapshot, in one scan, so that a statement never sees a champion and a share
/// that did not stand together. The current role must have the privilege `predict`. Loads sessions that are not in
/// the cache. `name` `None`: `ltv.default_model`.
pub fn resolve(name: Option<&str>, version: Option<i32>) -> Result<Versions> {
    let default;
    let name = match name {
        Some(name) => name,
        None => {
            default = default_model().ok_or(CatalogError::NoDefaultModel)?;
            &default
        }
    };
    if let Some(versions) = memo::recall(Moment::now(), name, version) {
        return Ok(versions);
    }
    // Opening the table takes in pending invalidations, hence before the generation is read.
    let (found, share) = match version {
        None => aliases(name),
        Some(version) => {
            let key = [Key::Text(name), Key::Int(version)];
            let found = table::scan(&VERSIONS, &key, |row| Some(row.identity));
            (found.map(|identity| Found { version, identity }), None)
        }
    };
    let Some(found) = found else {
        return Err(missing(name, version)?);
    };
    // SAFETY: inside a transaction.
    let role = unsafe {
        pg_sys::AcceptInvalidationMessages();
        pg_sys::GetUserId()
    };
    let pinned = version.is_some();
    let model = ready(name, &found, pinned, role)?;
    let traffic = match share.filter(|share| share.found.version != found.version) {
        None => None,
        Some(share) => Some(Traffic {
            challenger: ready(name, &share.found, pinned, role)?,
            share: share.share,
            id_column: share.id_column,
        }),
    };
    let versions = Versions { model, traffic };
    // Looking up may have taken in invalidations, but has not changed what the snapshot sees.
    memo::keep(Moment::now(), name, version, &versions);
    Ok(versions)
}

/// Like [`resolve`], but `None` where a dump is being restored and the pinned version has not arrived yet.
pub fn resolve_restored(name: Option<&str>, version: Option<i32>) -> Result<Option<Versions>> {
    if version.is_none() || !restore::in_progress() {
        return resolve(name, version).map(Some);
    }
    let is_missing = |report: &Report| report.sqlstate == PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT;
    match resolve(name, version) {
        Err(report) if is_missing(&report) => {
            restore::store_missing();
            match restore::with_latest_snapshot(|| resolve(name, version)) {
                Err(report) if is_missing(&report) => Ok(None),
                outcome => outcome.map(Some),
            }
        }
        outcome => outcome.map(Some),
    }
}

/// The champion of a model, and its challenger if that has a share.
fn aliases(name: &str) -> (Option<Found>, Option<Share>) {
    let (mut champion, mut challenger) = (None, None);
    table::scan(&ALIASES, &[Key::Text(name)], |row| {
        let found = |row: &Row| {
            Some(Found {
                version: row.int("version")?,
                identity: row.identity,
            })
        };
        if row.is_text("alias", b"champion") {
            champion = found(row);
        } else if row.is_text("alias", b"challenger")
            && let Some(share) = row.float("share")
        {
            challenger = found(row).map(|found| Share {
                found,
                share,
                id_column: row.text("id_column"),
            });
        }
        None::<()>
    });
    (champion, challenger)
}

fn ready(name: &str, found: &Found, pinned: bool, role: pg_sys::Oid) -> Result<Rc<Model>> {
    let Found { version, identity } = *found;
    let (checksum, schema) = match recall(name, version, pinned, identity, role) {
        Some(known) => known,
        None => look_up(name, version, pinned, identity, role)?,
    };
    match scoring::find(name, version, &checksum, &schema) {
        Some(model) => Ok(model),
        None => load(name, version, &checksum, &schema),
    }
}

/// Value of `ltv.default_model`, unless it is empty.
pub fn default_model() -> Option<String> {
    let value = guc::DEFAULT_MODEL.get()?;
    let name = text::from_server(value.to_bytes());
    (!name.is_empty()).then(|| name.into_owned())
}

fn recall(
    name: &str,
    version: i32,
    pinned: bool,
    identity: Identity,
    role: pg_sys::Oid,
) -> Option<(String, Rc<str>)> {
    let generation = generation();
    KNOWN.with(|known| {
        let known = known.borrow();
        let known = known.iter().find(|k| {
            k.version == version
                && k.pinned == pinned
                && k.role == role
                && k.generation == generation
                && k.identity == identity
                && k.name == name
        })?;
        Some((known.checksum.clone(), Rc::clone(&known.schema)))
    })
}

/// Checks the privilege and reads what identifies the version.
fn look_up(
    name: &str,
    version: i32,
    pinned: bool,
    identity: Identity,
    role: pg_sys::Oid,
) -> Result<(String, Rc<str>)> {
    if let Some(aliases) = table::oid_of(ALIASES.name) {
        invalidation::watch(aliases);
    }
    let generation = generation();
    privilege::check(name, Privilege::Predict, role)?;
    let (checksum, schema) = table::scan(&VERSIONS, &[Key::Text(name), Key::Int(version)], |row| {
        Some((row.text("checksum")?, row.json("schema")?))
    })
    .ok_or_else(|| CatalogError::NoVersion {
        model: name.to_owned(),
        version,
    })?;
    let schema: Rc<str> = schema.into();
    KNOWN.with(|known| {
        let mut known = known.borrow_mut();
        known.retain(|k| {
            k.generation == generation
                && (k.name != name || k.version != version || k.pinned != pinned || k.role != role)
        });
        if known.len() >= KNOWN_LIMIT {
            known.remove(0);
        }
        known.push(Known {
            name: name.to_owned(),
            version,
            pinned,
            identity,
            generation,
            role,
            checksum: checksum.clone(),
            schema: Rc::clone(&schema),
        });
    });
    Ok((checksum, schema))
}

fn load(name: &str, version: i32, checksum: &str, schema: &str) -> Result<Rc<Model>> {
    let parsed: Schema = serde_json::from_str(schema).map_err(|error| CatalogError::BadSchema {
        model: name.to_owned(),
        version,
        reason: error.to_string(),
    })?;
    scoring::load(name, version, checksum, schema, parsed, || {
        table::scan(
            &VERSIONS,
            &[Key::Text(name), Key::Int(version)],
            |row: &Row| row.bytes("onnx"),
        )
        .ok_or_else(|| {
            Report::from(CatalogError::NoVersion {
                model: name.to_owned(),
                version,
            })
        })
    })
}

/// Why nothing was found, in the order in which a user would ask.
fn missing(name: &str, version: Option<i32>) -> Result<Report> {
    // SAFETY: inside a transaction.
    privilege::check(name, Privilege::Predict, unsafe { pg_sys::GetUserId() })?;
    let versions = table::scan(&MODELS, &[Key::Text(name)], |row| row.int("last_version"));
    let model = name.to_owned();
    Ok(match version {
        Some(version) => CatalogError::NoVersion { model, version },
        None => CatalogError::NoChampion {
            model,
            versions: versions.unwrap_or_default(),
        },
    }
    .into())
}

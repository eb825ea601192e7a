//! The models that this backend keeps ready to score.

use super::graph::Graph;
use super::{Model, idle};
use crate::error::Result;
use crate::guc;
use ltv_core::schema::Schema;
use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::rc::Rc;
use std::time::Instant;

struct Entry {
    model: Rc<Model>,
    schema: String,
    last_used: u64,
    loaded: Loaded,
}

/// What `ltv_loaded_models` shows of an entry.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub model: String,
    pub version: i32,
    pub checksum: String,
    /// Size of the stored graph in bytes.
    pub bytes: i64,
    pub load_milliseconds: f64,
    /// Statements that began to use it.
    pub uses: i64,
}

#[derive(Default)]
struct Cache {
    entries: Vec<Entry>,
    clock: u64,
}

thread_local! {
    /// Not dropped when the process exits: the operating system is faster.
    static CACHE: ManuallyDrop<RefCell<Cache>> = ManuallyDrop::new(RefCell::new(Cache::default()));
}

/// The model of that name and version, if it is here and its graph is still that one.
pub fn find(name: &str, version: i32, checksum: &str, schema: &str) -> Option<Rc<Model>> {
    CACHE.with(|cache| {
        let cache = &mut *cache.borrow_mut();
        cache.clock += 1;
        let entry = cache.entries.iter_mut().find(|entry| {
            entry.model.version == version
                && entry.model.name == name
                && entry.model.checksum == checksum
                && entry.schema == schema
        })?;
        entry.last_used = cache.clock;
        entry.loaded.uses += 1;
        Some(Rc::clone(&entry.model))
    })
}

/// A statement begins to use a model that it found by other ways; whether it is still here.
pub fn used(model: &Rc<Model>) -> bool {
    CACHE.with(|cache| {
        let cache = &mut *cache.borrow_mut();
        cache.clock += 1;
        let entry = cache
            .entries
            .iter_mut()
            .find(|e| Rc::ptr_eq(&e.model, model));
        entry.is_some_and(|entry| {
            entry.last_used = cache.clock;
            entry.loaded.uses += 1;
            true
        })
    })
}

pub(super) fn holds(model: &Rc<Model>) -> bool {
    CACHE.with(|cache| {
        let cache = cache.borrow();
        cache.entries.iter().any(|e| Rc::ptr_eq(&e.model, model))
    })
}

/// Makes a model ready and keeps it. `schema` is the text that `parsed` was parsed from; `onnx` reads the graph, and
/// is not called if another version with the same graph is here.
pub fn load(
    name: &str,
    version: i32,
    checksum: &str,
    schema: &str,
    parsed: Schema,
    onnx: impl FnOnce() -> Result<Vec<u8>>,
) -> Result<Rc<Model>> {
    let start = Instant::now();
    let graph = match find_graph(checksum, schema) {
        Some(graph) => graph,
        None => Rc::new(Graph::load(&onnx()?, parsed)?),
    };
    let bytes = graph.bytes;
    let model = Rc::new(Model {
        name: name.to_owned(),
        version,
        checksum: checksum.to_owned(),
        graph,
    });
    let milliseconds = start.elapsed().as_secs_f64() * 1e3;
    insert(Rc::clone(&model), schema.to_owned(), bytes, milliseconds);
    Ok(model)
}

/// The graph of any model with this checksum and schema.
fn find_graph(checksum: &str, schema: &str) -> Option<Rc<Graph>> {
    CACHE.with(|cache| {
        let cache = cache.borrow();
        let entry = cache
            .entries
            .iter()
            .find(|entry| entry.model.checksum == checksum && entry.schema == schema)?;
        Some(Rc::clone(&entry.model.graph))
    })
}

/// Keeps a model; drops those used least recently beyond `ltv.session_cache_size`. A dropped one lives on until
/// the statements that use it end.
fn insert(model: Rc<Model>, schema: String, bytes: usize, load_milliseconds: f64) {
    let dropped = CACHE.with(|cache| {
        let cache = &mut *cache.borrow_mut();
        cache.clock += 1;
        let mut dropped: Vec<Entry> = Vec::new();
        let entries = &mut cache.entries;
        if let Some(stale) = entries
            .iter()
            .position(|e| e.model.version == model.version && e.model.name == model.name)
        {
            dropped.push(entries.swap_remove(stale));
        }
        let limit = guc::SESSION_CACHE_SIZE.get().max(1) as usize;
        while entries.len() >= limit {
            let oldest = entries
                .iter()
                .enumerate()
                .min_by_key(|(_, entry)| entry.last_used)
                .map_or(0, |(index, _)| index);
            dropped.push(entries.swap_remove(oldest));
        }
        let loaded = Loaded {
            model: model.name.clone(),
            version: model.version,
            checksum: model.checksum.clone(),
            bytes: bytes as i64,
            load_milliseconds,
            uses: 1,
        };
        entries.push(Entry {
            model,
            schema,
            last_used: cache.clock,
            loaded,
        });
        dropped
    });
    for entry in &dropped {
        idle::forget(&entry.model);
    }
    drop(dropped);
}

/// What is here, most recently used first.
pub fn loaded() -> Vec<Loaded> {
    CACHE.with(|cache| {
        let cache = cache.borrow();
        let mut entries: Vec<&Entry> = cache.entries.iter().collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.last_used));
        entries.iter().map(|entry| entry.loaded.clone()).collect()
    })
}

//! What a batch scan carries from the planner to the executor: a list of expression lists in `custom_exprs`, made
//! of plan nodes only, so that it can be copied, cached and sent to parallel workers.

use super::tree::{self, Node, iter};
use pgrx::pg_sys;

/// All are over INDEX_VAR: first the columns of the child, then a value and a flag for each call.
pub struct Expressions {
    pub outputs: Vec<*mut pg_sys::TargetEntry>,
    /// In the order in which they have to be evaluated.
    pub quals: Vec<*mut Node>,
    pub calls: Vec<Call>,
    /// The LIMIT right above: nobody asks for more rows than count + offset.
    pub limit: Option<Limit>,
}

/// When a call is evaluated: after this many of the scan's quals held, and where all of `conditions` are true.
#[derive(Clone)]
pub struct Guard {
    pub quals: usize,
    pub conditions: Vec<*mut Node>,
}

impl Guard {
    pub fn always(&self) -> bool {
        self.quals == 0 && self.conditions.is_empty()
    }
}

/// A call that the scan computes ahead.
pub struct Call {
    /// With the calls among its own arguments replaced.
    pub call: *mut Node,
    /// Arguments and guards depend on calls of lower stages only.
    pub stage: usize,
    /// Needed where any of them holds.
    pub guards: Vec<Guard>,
}

#[derive(Clone, Copy)]
pub struct Limit {
    pub count: *mut Node,
    pub offset: *mut Node,
}

impl Expressions {
    pub fn encode(&self) -> *mut pg_sys::List {
        let calls = self.calls.iter().map(|call| {
            let guards = call.guards.iter().map(|guard| {
                let quals = tree::number(guard.quals as i32);
                tree::list(std::iter::once(quals).chain(guard.conditions.iter().copied()))
            });
            tree::list([
                call.call,
                tree::number(call.stage as i32),
                tree::list(guards).cast(),
            ])
        });
        let limit = self.limit.map_or(std::ptr::null_mut(), |limit| {
            tree::list([limit.count, limit.offset])
        });
        tree::list([
            tree::list(self.outputs.iter().copied()),
            tree::list(self.quals.iter().copied()),
            tree::list(calls),
            limit,
        ])
    }

    /// # Safety
    /// `list` is what [`Expressions::encode`] made, or a copy of it.
    pub unsafe fn decode(list: *mut pg_sys::List) -> Self {
        // SAFETY: the shape that `encode` gives it.
        unsafe {
            let parts: Vec<*mut pg_sys::List> = iter(list).collect();
            let calls = iter::<pg_sys::List>(parts[2]).map(|call| {
                let call: Vec<*mut Node> = iter(call).collect();
                let guards = iter::<pg_sys::List>(call[2].cast()).map(|guard| {
                    let mut parts = iter::<Node>(guard);
                    Guard {
                        quals: parts.next().map_or(0, |n| tree::number_of(n)) as usize,
                        conditions: parts.collect(),
                    }
                });
                Call {
                    call: call[0],
                    stage: tree::number_of(call[1]) as usize,
                    guards: guards.collect(),
                }
            });
            let limit: Vec<*mut Node> = iter(parts[3]).collect();
            Self {
                outputs: iter(parts[0]).collect(),
                quals: iter(parts[1]).collect(),
                calls: calls.collect(),
                limit: match limit[..] {
                    [count, offset] => Some(Limit { count, offset }),
                    _ => None,
                },
            }
        }
    }
}

//! One batch scan that runs.
//!
//! A batch is filled row by row from the child: what a prediction needs is taken out of the child's slot on the way,
//! and only what later expressions read is kept. Then each call is computed for all rows that need it, stage by
//! stage, and the rows are handed out, filtered and projected.

use super::call::{Call, Outcome};
use super::columns;
use super::counters::Counters;
use super::direct::Direct;
use super::raw;
use super::store::Store;
use crate::batch_scan::private::Expressions;
use crate::batch_scan::tree::{self, Node};
use crate::error::Report;
use crate::guc;
use pgrx::pg_sys::{self, Datum, NodeTag};
use pgrx::prelude::PgSqlErrorCode;
use std::time::Instant;

pub struct Scan {
    state: *mut pg_sys::CustomScanState,
    child: *mut pg_sys::PlanState,
    econtext: *mut pg_sys::ExprContext,
    /// The child's columns, then value and flag of each call; what all expressions are evaluated on.
    slot: *mut pg_sys::TupleTableSlot,
    child_columns: usize,
    /// Where the child, if it scans a table, has its current tuple.
    table_slot: *mut pg_sys::TupleTableSlot,
    /// So many columns of the child have to be readable.
    deform: usize,
    /// Columns that are read while a row is taken in.
    early: Vec<usize>,
    quals: Vec<*mut pg_sys::ExprState>,
    direct: Option<Direct>,
    pub calls: Vec<Call>,
    stages: usize,
    store: Store,
    limit: Option<[*mut pg_sys::ExprState; 2]>,
    /// So many rows may still be asked for.
    wanted: Option<u64>,
    started: bool,
    exhausted: bool,
    /// The next row to hand out.
    at: usize,
    /// The next batch.
    size: usize,
    pulled: u64,
    /// By-reference results; of the batch, and of calls that are the same for all rows.
    batch_context: pg_sys::MemoryContext,
    scan_context: pg_sys::MemoryContext,
}

impl Scan {
    /// # Safety
    /// `state` was initialised by the executor for a plan node that the builder made; its child is initialised.
    pub unsafe fn begin(state: *mut pg_sys::CustomScanState, estate: *mut pg_sys::EState) -> Self {
        // SAFETY: passed on.
        unsafe {
            let parent = &raw mut (*state).ss.ps;
            let plan = (*parent).plan.cast::<pg_sys::CustomScan>();
            let planned = Expressions::decode((*plan).custom_exprs);
            let child_columns = tree::iter::<Node>((*plan).custom_scan_tlist).len();
            let needs = columns::Needs::of(&planned, child_columns);
            let desc = columns::descriptor((*plan).custom_scan_tlist, &planned);

            let slot =
                pg_sys::ExecInitExtraTupleSlot(estate, desc, &raw const pg_sys::TTSOpsVirtual);
            for i in 0..(*desc).natts as usize {
                *(*slot).tts_isnull.add(i) = true;
            }
            (*slot).tts_flags &= !(pg_sys::TTS_FLAG_EMPTY as u16);
            (*slot).tts_nvalid = (*desc).natts as i16;
            (*state).ss.ss_ScanTupleSlot = slot;
            (*parent).scandesc = desc;
            let econtext = (*parent).ps_ExprContext;
            (*econtext).ecxt_scantuple = slot;

            if (*parent).ps_ResultTupleSlot.is_null() {
                pg_sys::ExecInitResultSlot(parent, &raw const pg_sys::TTSOpsVirtual);
            }
            (*parent).ps_ProjInfo = pg_sys::ExecBuildProjectionInfo(
                tree::list(planned.outputs.iter().copied()),
                econtext,
                (*parent).ps_ResultTupleSlot,
                parent,
                desc,
            );
            let quals = planned.quals.iter();
            let quals = quals
                .map(|q| pg_sys::ExecInitQual(tree::list([*q]), parent))
                .collect();
            let calls: Vec<Call> = planned
                .calls
                .iter()
                .map(|c| Call::new(c, child_columns, parent).unwrap_or_else(|| changed()))
                .collect();
            let limit = planned.limit.map(|limit| {
                [limit.count, limit.offset].map(|n| pg_sys::ExecInitExpr(n.cast(), parent))
            });
            let query = (*estate).es_query_cxt;
            let batch_context = context(query, c"LTV batch");
            Self {
                state,
                child: (*parent).lefttree,
                econtext,
                slot,
                child_columns,
                table_slot: current_tuple(state),
                deform: needs.deform,
                direct: Direct::of(&planned, &needs, child_columns),
                early: needs.early,
                quals,
                stages: calls.iter().map(|c| c.stage + 1).max().unwrap_or(1),
                calls,
                store: Store::new(columns::stored(&needs.stored, desc), batch_context),
                limit,
                wanted: None,
                started: false,
                exhausted: false,
                at: 0,
                size: 1,
                pulled: 0,
                batch_context,
                scan_context: context(query, c"LTV batch scan"),
            }
        }
    }

    /// The next row of the scan; null at the end.
    ///
    /// # Safety
    /// See [`raw`].
    pub unsafe fn next(&mut self) -> *mut pg_sys::TupleTableSlot {
        // SAFETY: passed on.
        unsafe {
            loop {
                if self.at >= self.store.len() {
                    if self.exhausted {
                        return std::ptr::null_mut();
                    }
                    self.fill();
                    continue;
                }
                let row = self.at;
                self.at += 1;
                if let Some(direct) = &self.direct
                    && self.store.quals(row) == self.quals.len()
                    && !self.store.is_gone(row)
                {
                    let slot = (*self.state).ss.ps.ps_ResultTupleSlot;
                    if direct.fill(&self.store, &self.calls, row, slot) {
                        (*self.slot).tts_tid = self.store.tid(row);
                        return slot;
                    }
                }
                if self.passes(row) {
                    return raw::project((*self.state).ss.ps.ps_ProjInfo);
                }
                let instrument = (*self.state).ss.ps.instrument;
                if !instrument.is_null() {
                    (*instrument).nfiltered1 += 1.0;
                }
            }
        }
    }

    /// Makes the row current and evaluates the quals that are left.
    unsafe fn passes(&mut self, row: usize) -> bool {
        if self.store.is_gone(row) {
            return false;
        }
        // SAFETY: the slot has all columns.
        unsafe {
            raw::reset_row(self.econtext);
            self.load(row);
            let left = &self.quals[self.store.quals(row)..];
            left.iter().all(|q| raw::holds(*q, self.econtext))
        }
    }

    unsafe fn load(&mut self, row: usize) {
        // SAFETY: the slot has all columns of the store and two for each call.
        unsafe {
            let slot = &mut *self.slot;
            self.store.load(row, slot);
            for (i, call) in self.calls.iter().enumerate() {
                let outcome = call.results.get(row).copied().unwrap_or(Outcome::NONE);
                let value = self.child_columns + 2 * i;
                *slot.tts_values.add(value) = outcome.value;
                *slot.tts_isnull.add(value) = outcome.is_null;
                *slot.tts_values.add(value + 1) = Datum::from(outcome.done);
                *slot.tts_isnull.add(value + 1) = false;
            }
        }
    }

    unsafe fn fill(&mut self) {
        pgrx::check_for_interrupts!();
        // SAFETY: passed on.
        unsafe {
            self.store.clear();
            self.at = 0;
            for i in 0..self.calls.len() {
                self.calls[i].clear();
                let value = self.child_columns + 2 * i;
                *(*self.slot).tts_values.add(value + 1) = Datum::from(false);
                *(*self.slot).tts_isnull.add(value + 1) = false;
            }
            let size = self.next_size();
            while self.store.len() < size {
                let row = raw::next(self.child);
                if row.is_null() {
                    self.exhausted = true;
                    break;
                }
                self.pulled += 1;
                if !self.early.is_empty() {
                    raw::reset_row(self.econtext);
                }
                raw::deform(row, self.deform);
                self.take(&*row);
            }
            self.infer(0);
            for stage in 1..self.stages {
                for row in 0..self.store.len() {
                    if !self.store.is_gone(row) {
                        raw::reset_row(self.econtext);
                        self.load(row);
                        let slot = self.slot;
                        let (quals, gone, _) =
                            self.advance(row, stage, &*slot, self.store.quals(row));
                        self.store.set_quals(row, quals, gone);
                    }
                }
                self.infer(stage);
            }
        }
    }

    /// Takes in a row of the child.
    unsafe fn take(&mut self, row: &pg_sys::TupleTableSlot) {
        // SAFETY: the row is deformed; our slot has the same columns and more.
        unsafe {
            for i in &self.early {
                *(*self.slot).tts_values.add(*i) = *row.tts_values.add(*i);
                *(*self.slot).tts_isnull.add(*i) = *row.tts_isnull.add(*i);
            }
            let (quals, gone, complete) = self.advance(self.store.len(), 0, row, 0);
            let tid = match self.table_slot.as_ref() {
                Some(slot) => slot.tts_tid,
                None => row.tts_tid,
            };
            self.store.push(row, quals, gone, !complete, tid);
        }
    }

    /// Hands the row to the calls of a stage that need it. How many quals held, whether one did not, and whether
    /// each call of the stage has the row.
    unsafe fn advance(
        &mut self,
        row: usize,
        stage: usize,
        slot: &pg_sys::TupleTableSlot,
        mut quals: usize,
    ) -> (usize, bool, bool) {
        let mut complete = true;
        for call in self.calls.iter_mut().filter(|c| c.stage == stage) {
            let mut needed = false;
            for i in 0..call.guards.len() {
                // SAFETY: the current row is in the slot, as far as these expressions read it.
                unsafe {
                    while quals < call.guards[i].quals {
                        if !raw::holds(self.quals[quals], self.econtext) {
                            return (quals, true, false);
                        }
                        quals += 1;
                    }
                    needed = raw::holds(call.guards[i].conditions, self.econtext);
                }
                if needed {
                    break;
                }
            }
            // SAFETY: the same.
            complete &= needed && unsafe { call.push(row, slot, self.econtext) };
        }
        (quals, false, complete)
    }

    fn infer(&mut self, stage: usize) {
        let rows = self.store.len();
        for call in self.calls.iter_mut().filter(|c| c.stage == stage) {
            let start = Instant::now();
            match call.infer(rows, self.batch_context, self.scan_context) {
                Ok(0) => {}
                Ok(inferred) => {
                    // SAFETY: the state of a running scan.
                    if let Some(instrument) = unsafe { (*self.state).ss.ps.instrument.as_mut() } {
                        Counters::add(instrument, inferred, start.elapsed());
                    }
                }
                Err(report) => report.raise(),
            }
        }
    }

    /// 1, 2, 4 ... rows, so that whoever wants only a few pays for only a few; all that are wanted, where that is
    /// known.
    unsafe fn next_size(&mut self) -> usize {
        let most = usize::try_from(guc::BATCH_SIZE.get()).unwrap_or(1).max(1);
        if !self.started {
            self.started = true;
            // SAFETY: passed on.
            self.wanted = unsafe { self.count_wanted() };
        }
        if let Some(wanted) = self.wanted {
            let left = wanted.saturating_sub(self.pulled).max(1);
            return most.min(usize::try_from(left).unwrap_or(most));
        }
        let size = self.size.clamp(1, most);
        self.size = (size * 2).min(most);
        size
    }

    unsafe fn count_wanted(&mut self) -> Option<u64> {
        let [count, offset] = self.limit?;
        // SAFETY: compiled for our context; both are bigint.
        unsafe {
            let (count, is_null) = raw::evaluate(count, self.econtext);
            if is_null {
                return None;
            }
            let mut wanted = count.value() as i64;
            if !offset.is_null() {
                let (offset, is_null) = raw::evaluate(offset, self.econtext);
                if !is_null {
                    wanted = wanted.saturating_add(offset.value() as i64);
                }
            }
            if wanted > 0 {
                pg_sys::ExecSetTupleBound(wanted, self.child);
            }
            u64::try_from(wanted).ok()
        }
    }

    /// # Safety
    /// See [`raw`].
    pub unsafe fn rescan(&mut self) {
        // SAFETY: passed on.
        unsafe {
            self.store.clear();
            raw::reset(self.scan_context);
        }
        self.at = 0;
        // What was asked for last time is likely to be asked for again.
        self.size = if self.exhausted {
            usize::try_from(self.pulled).unwrap_or(usize::MAX).max(1)
        } else {
            1
        };
        self.started = false;
        self.exhausted = false;
        self.pulled = 0;
        for call in &mut self.calls {
            call.clear();
            call.rescan();
        }
    }
}

/// Each call has its columns by its number, so none may be missing.
fn changed() -> ! {
    Report::new(
        PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        "a function of pg_ltv was replaced while its plan was in use",
    )
    .hint("Run the statement again.")
    .raise()
}

fn context(parent: pg_sys::MemoryContext, name: &'static std::ffi::CStr) -> pg_sys::MemoryContext {
    // SAFETY: a live parent; the name is a constant.
    unsafe {
        pg_sys::AllocSetContextCreateInternal(
            parent,
            name.as_ptr(),
            pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
        )
    }
}

/// For WHERE CURRENT OF, which looks for the scan of a table: the child's table and current tuple pass for ours.
unsafe fn current_tuple(state: *mut pg_sys::CustomScanState) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: an initialised child; the tag says what it is.
    unsafe {
        let child = (*state).ss.ps.lefttree;
        match tree::tag(child) {
            NodeTag::T_SeqScanState
            | NodeTag::T_SampleScanState
            | NodeTag::T_IndexScanState
            | NodeTag::T_BitmapHeapScanState
            | NodeTag::T_TidScanState
            | NodeTag::T_TidRangeScanState => {
                let scan = child.cast::<pg_sys::ScanState>();
                (*state).ss.ss_currentRelation = (*scan).ss_currentRelation;
                (*(*state).ss.ss_ScanTupleSlot).tts_tableOid = (*(*scan).ss_currentRelation).rd_id;
                (*scan).ss_ScanTupleSlot
            }
            _ => std::ptr::null_mut(),
        }
    }
}

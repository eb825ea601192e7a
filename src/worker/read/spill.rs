//! Rows beyond `ltv.training_memory`: into PostgreSQL's temporary files, so that `temp_file_limit` and
//! `temp_tablespaces` hold and nothing is left behind, whatever becomes of the server.
//!
//! First the rows are dealt into partitions by a hash of their key. Then each partition is sorted in memory and
//! appended to one file. So the order in the file depends on the ids alone, and has nothing to do with what is in the
//! rows: every stretch of the file is a random sample. The first stretch is kept in memory for the preprocessing to
//! learn from, and so are the rows for validation, up to a number that judges a network well.

use super::{file_io, session};
use crate::error::{Report, Result};
use crate::worker::memory;
use ltv_core::data::{RecordFormat, Sample, SpilledRows, TrainingData, TrainingTable, spread};
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::fs::File;
use std::os::fd::{FromRawFd, OwnedFd};

const PARTITIONS: usize = 128;
/// Written at once, per partition.
const BUFFER: usize = 32 << 10;
/// Written at once when partitions are put together.
const LARGE_BUFFER: usize = 1 << 20;
/// Validation rows that are kept at most: more would not stop a training at a better epoch.
const MOST_VALIDATION_ROWS: usize = 200_000;

/// A temporary file of PostgreSQL; deleted when dropped, or by PostgreSQL when the process or the server ends.
pub struct TemporaryFile(pg_sys::File);

impl TemporaryFile {
    /// `lasting`: beyond this transaction.
    fn create(lasting: bool) -> Self {
        // SAFETY: on the main thread, inside a transaction; errors are raised.
        unsafe {
            pg_sys::PrepareTempTablespaces();
            Self(pg_sys::OpenTemporaryFile(lasting))
        }
    }

    /// Raises an error beyond temp_file_limit.
    fn write(&self, bytes: &[u8], at: u64) -> Result<()> {
        // SAFETY: on the main thread, an open file.
        let written = unsafe { file_io::write(self.0, bytes, at) };
        self.check(written, bytes.len(), "write to")
    }

    fn read(&self, bytes: &mut [u8], at: u64) -> Result<()> {
        // SAFETY: on the main thread, an open file.
        let read = unsafe { file_io::read(self.0, bytes, at) };
        self.check(read, bytes.len(), "read from")
    }

    fn check(&self, done: i64, wanted: usize, verb: &str) -> Result<()> {
        if done == wanted as i64 {
            return Ok(());
        }
        let error = std::io::Error::last_os_error();
        // A short write means that the disk is full, as elsewhere in PostgreSQL.
        let (sqlstate, reason) = if done >= 0 || error.raw_os_error() == Some(libc::ENOSPC) {
            (
                PgSqlErrorCode::ERRCODE_DISK_FULL,
                "No space is left on the device.".to_owned(),
            )
        } else {
            (PgSqlErrorCode::ERRCODE_IO_ERROR, format!("{error}."))
        };
        Err(Report::new(sqlstate, format!("could not {verb} a temporary file for the training rows"))
            .detail(reason)
            .hint("Free space, let temp_tablespaces point to a larger disk, or raise ltv.training_memory."))
    }

    /// A handle of its own for another thread, which must not touch PostgreSQL's.
    fn handle(&self) -> Result<File> {
        // SAFETY: the descriptor of an open file is duplicated at once, before PostgreSQL may close it; what comes back is ours.
        let copy = unsafe {
            let descriptor = pg_sys::FileGetRawDesc(self.0);
            libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, 3)
        };
        if copy < 0 {
            return Err(Report::new(
                PgSqlErrorCode::ERRCODE_INSUFFICIENT_RESOURCES,
                "could not open the temporary file of the training rows once more",
            )
            .detail(format!("{}.", std::io::Error::last_os_error()))
            .hint("Raise the limit on open files of the server's user."));
        }
        // SAFETY: see above.
        Ok(File::from(unsafe { OwnedFd::from_raw_fd(copy) }))
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        // SAFETY: opened by `create`, on the same thread, and closed nowhere else: those of a transaction are dropped before it ends.
        unsafe { pg_sys::FileClose(self.0) };
    }
}

struct Partition {
    file: Option<TemporaryFile>,
    buffer: Vec<u8>,
    written: u64,
}

impl Partition {
    fn flush(&mut self) -> Result<()> {
        let file = self
            .file
            .get_or_insert_with(|| TemporaryFile::create(false));
        file.write(&self.buffer, self.written)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

pub struct Spill {
    format: RecordFormat,
    partitions: Vec<Partition>,
    /// Bytes for rows in memory.
    budget: usize,
    rows: usize,
    record: Vec<u8>,
}

impl Spill {
    pub fn new(table: &TrainingTable, steps: usize, budget: usize) -> Self {
        Self {
            format: RecordFormat::of(table, steps),
            partitions: (0..PARTITIONS)
                .map(|_| Partition {
                    file: None,
                    buffer: Vec::new(),
                    written: 0,
                })
                .collect(),
            budget,
            rows: 0,
            record: Vec::new(),
        }
    }

    /// Takes the rows out of the table. `keys`: one per row, or none, if rows are to be told apart by their number. `lots`: one per row.
    pub fn take(
        &mut self,
        table: &mut TrainingTable,
        keys: &mut Vec<u64>,
        lots: &mut Vec<u8>,
    ) -> Result<()> {
        for row in 0..table.rows() {
            let key = keys.get(row).copied().unwrap_or(self.rows as u64);
            let key = spread(key);
            self.record.clear();
            let lot = lots.get(row).copied().unwrap_or_default();
            self.format.write(table, row, (key, lot), &mut self.record);
            let partition = &mut self.partitions[(key >> 57) as usize];
            if partition.buffer.len() + self.record.len() > BUFFER && !partition.buffer.is_empty() {
                partition.flush()?;
            }
            partition.buffer.extend_from_slice(&self.record);
            self.rows += 1;
        }
        table.forget_rows();
        keys.clear();
        lots.clear();
        Ok(())
    }

    /// `table` comes with the dictionaries, and without rows. The file must outlive the training. `several`: networks
    /// that check each other, for which rows for validation are rows like others. Rows that do not stay in the sample are left behind.
    pub fn finish(
        mut self,
        mut table: TrainingTable,
        several: bool,
        drawn: &Sample,
    ) -> Result<(TrainingData, TemporaryFile)> {
        let size = self.format.bytes();
        let validation = (self.budget / 8 / (2 * size)).min(MOST_VALIDATION_ROWS);
        let sample = self.budget / 4 / (2 * size) + if several { validation } else { 0 };
        // What is sorted at once; a partition is larger than that only if the rows are a thousand times the memory.
        let part = (self.budget / 4 / size).max(1) * size;
        let file = TemporaryFile::create(true);
        let (mut sampled, mut kept, mut rows, mut at) = (0, 0, 0_u64, 0);
        let mut out = Vec::with_capacity(LARGE_BUFFER + size);
        let mut bytes = Vec::new();
        for mut partition in self.partitions.drain(..) {
            pg_sys::check_for_interrupts!();
            if !partition.buffer.is_empty() {
                partition.flush()?;
            }
            partition.buffer = Vec::new();
            let Some(source) = &partition.file else {
                continue;
            };
            let mut from = 0;
            while from < partition.written {
                let length = (partition.written - from).min(part as u64);
                bytes.resize(length as usize, 0);
                source.read(&mut bytes, from)?;
                from += length;
                let mut order: Vec<&[u8]> = bytes
                    .chunks_exact(size)
                    .filter(|record| drawn.keeps(self.format.lot(record)))
                    .collect();
                order.sort_by_key(|record| self.format.order(record));
                memory::watch();
                for record in order {
                    if !several && self.format.is_validation(record) {
                        if kept < validation {
                            self.format.append(record, &mut table);
                            kept += 1;
                        }
                        continue;
                    }
                    if sampled < sample {
                        self.format.append(record, &mut table);
                        sampled += 1;
                    }
                    out.extend_from_slice(record);
                    rows += 1;
                    if out.len() >= LARGE_BUFFER {
                        file.write(&out, at)?;
                        at += out.len() as u64;
                        out.clear();
                    }
                }
            }
        }
        if !out.is_empty() {
            file.write(&out, at)?;
        }
        session::report_activity("pg_ltv: training rows sorted");
        let block = self.budget / 8 / (2 * size);
        let spilled = SpilledRows::new(file.handle()?, self.format.clone(), rows, block);
        let data = TrainingData {
            table,
            spilled: Some(spilled),
            rows: drawn.kept() as usize,
        };
        Ok((data, file))
    }
}

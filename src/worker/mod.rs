//! Training jobs: the queue, the background worker that runs one, how it reads data, reports and stores.
//!
//! | module | what it holds |
//! |---|---|
//! | [`launch`] | starting background workers: when a transaction commits, at once, after a server start |
//! | [`queue`] | which job is next, claiming it, finding jobs whose worker is gone |
//! | [`login`] | the worker's session is the job's owner's |
//! | [`catalog`] | whether a database's catalog is to be trusted |
//! | [`lock`] | the locks of the queue and of running jobs |
//! | [`deadline`] | the time a job may take |
//! | [`process`] | the worker: claim, read, train, store, finish |
//! | [`read`] | a query's rows -> compact columns |
//! | [`gpu`] | the library that trains on a GPU, and when it is opened |
//! | [`training`] | the compute thread and what the main thread does meanwhile |
//! | [`trial`] | scoring a few rows with the new model before it is stored |
//! | [`memory`] | how much the worker takes |
//! | [`store`] | the new version, in one transaction |
//! | [`session`] | transactions, identities and settings of the worker's session |
//! | [`interrupt`] | signals |
//!
//! A job is a row of `ltv.jobs`. Its transaction's commit starts a worker for the role that it runs as; a worker
//! serves the queue as far as `ltv.max_concurrent_jobs` and free worker slots allow, and starts the next worker when
//! it ends. Whatever goes wrong in between, the row stays queued and the next call of `ltv_wait` or `ltv_cancel` looks
//! at the queue again. A worker holds a lock for as long as it runs a job; a running job that nobody holds the lock of
//! is lost.
//!
//! Who a worker is: the job's owner, from the first moment of its session to its end. SQL of the owner (the training
//! query, what it calls, the judging of a retrained version) runs in a security-restricted operation. What the worker
//! itself reads and writes it does as the owner of the catalog, inside one transaction, with a fixed search_path.

pub mod catalog;
mod deadline;
mod gpu;
pub mod interrupt;
pub mod launch;
pub mod lock;
mod login;
pub mod memory;
pub mod process;
pub mod queue;
pub mod read;
pub mod session;
pub mod store;
pub mod training;
pub mod trial;

/// Called once per process, from `_PG_init`.
pub fn init() {
    launch::init();
}

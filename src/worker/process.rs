//! The worker process: claims jobs of its role and runs them one after the other.

use super::gpu::Choice;
use super::queue::{self, End, Job};
use super::session::{self, Identity};
use super::training::Work;
use super::{gpu, interrupt, memory, read, store, training, trial};
use crate::error::Result;
use crate::{guc, scoring};
use ltv_core::recipe::Recipe;
use pgrx::bgworkers::BackgroundWorker;
use pgrx::pg_sys;
use pgrx::prelude::*;

/// Entry point of each worker; its database and role come with it.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn ltv_worker_main(_argument: pg_sys::Datum) {
    interrupt::install();
    leave_threads_to_us();
    scoring::disable_telemetry();
    let mut oids = BackgroundWorker::get_extra()
        .split(' ')
        .filter_map(|oid| oid.parse::<u32>().ok());
    let (Some(database), Some(role)) = (oids.next(), oids.next()) else {
        log!("pg_ltv worker: started without a database and a role");
        return;
    };
    // SAFETY: the first and only connection of this process. Without a role it is that of the server's owner.
    unsafe { pg_sys::BackgroundWorkerInitializeConnectionByOid(database.into(), role.into(), 0) };
    prepare_session();

    loop {
        interrupt::reset();
        memory::reset();
        let job = match queue::claim() {
            Ok(Some(job)) => job,
            Ok(None) => break,
            Err(report) => {
                log!("pg_ltv worker: {}", report.message);
                break;
            }
        };
        let end = run(&job);
        if let Err(report) = queue::finish(job.job, &end) {
            log!(
                "pg_ltv job {}: could not write its end: {}",
                job.job,
                report.message
            );
        }
        queue::release(job.job);
        if interrupt::terminated() {
            break;
        }
        // A fresh process for each job, unless there is no room to start one beside this one.
        match session::transaction(queue::wake) {
            Ok(true) | Err(_) => break,
            Ok(false) => {}
        }
    }
}

/// The tensor library would share out each operation on a pool of all cores, whose threads wait for each other without
/// sleeping. Training cuts batches into shards instead, on as many threads as it may.
fn leave_threads_to_us() {
    // SAFETY: this process has just begun and has no other thread that could read the environment.
    unsafe { std::env::set_var("CANDLE_NUM_THREADS", "1") };
}

/// What the worker itself does must not depend on the defaults of a role or database.
fn prepare_session() {
    let fixed = [
        (c"search_path", c"pg_catalog, pg_temp"),
        (c"default_transaction_isolation", c"read committed"),
        (c"default_transaction_read_only", c"off"),
        (c"lock_timeout", c"0"),
        (c"application_name", c"pg_ltv"),
    ];
    for (name, value) in fixed {
        session::set_option(name, value, pg_sys::GucAction::GUC_ACTION_SET);
    }
}

fn run(job: &Job) -> End {
    match train_and_store(job) {
        Ok(version) => {
            log!(
                "pg_ltv job {}: stored version {version} of model \"{}\"",
                job.job,
                job.model
            );
            End::Succeeded
        }
        Err(_) if interrupt::shutting_down() => End::Lost,
        Err(_) if interrupt::canceled() => {
            log!("pg_ltv job {}: canceled", job.job);
            End::Canceled
        }
        Err(report) => {
            log!("pg_ltv job {}: {}", job.job, report.message);
            End::Failed(report)
        }
    }
}

/// Reads the rows, and completes the recipe with what is known then.
fn read_rows(job: &Job, recipe: &mut Recipe) -> Result<read::Data> {
    let without_id = job
        .recipe
        .get("id_column")
        .is_some_and(serde_json::Value::is_null);

    session::report_activity(&format!("pg_ltv job {}: reading", job.job));
    let read = session::transaction(|| {
        let _owner = Identity::job_owner(&job.owner)?;
        // SAFETY: only ever from read-write to read-only, for the rest of this transaction.
        unsafe { pg_sys::XactReadOnly = true };
        session::apply_settings(&job.settings)?;
        let limit = (guc::TRAINING_MEMORY.get() as usize) << 20;
        recipe.warm_start = store::earlier_weights(job)?;
        let data = read::load(recipe, without_id, job.job, limit)?;
        Ok((data, guc::TRAINING_THREADS.get()))
    });
    let (data, threads) = read.map_err(|report| match report.sqlstate {
        PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED if report.hint.is_none() => report.hint(
            "Raise temp_file_limit for the role that trains, or ltv.training_memory, beyond which rows go to temporary files.",
        ),
        _ => report,
    })?;
    recipe.options.threads.get_or_insert(threads as usize);
    recipe.options.horizon = recipe.options.horizon.or(data.horizon);
    let rows = data.training.rows;
    training::report_phase(job.job, "preprocessing", Some(rows as i64))?;
    session::report_activity(&format!("pg_ltv job {}: training on {rows} rows", job.job));
    Ok(data)
}

fn train_and_store(job: &Job) -> Result<i32> {
    let mut recipe = Recipe::from_json(&job.recipe)?;
    let mut data = read_rows(job, &mut recipe)?;
    let spilled = data.training.spilled.is_some();
    let mut choice = Choice::of(&recipe, data.training.rows)?;
    let (model, mut notes) = loop {
        let is_automatic = choice.gpu.as_ref().is_some_and(|gpu| gpu.is_automatic);
        let work = Work {
            data: data.training,
            recipe: recipe.clone(),
            asked: job.recipe.clone(),
            gpu: choice.gpu,
        };
        match training::run(work, job.job) {
            // The GPU has taken the rows along.
            Err(report) if is_automatic && gpu::is_of_the_device(&report) => {
                choice = Choice::cpu(Some(gpu::instead(&report)));
                drop(data.file);
                data = read_rows(job, &mut recipe)?;
            }
            outcome => break outcome?,
        }
    };
    notes.extend(choice.note);
    drop(data.file);

    session::report_activity(&format!("pg_ltv job {}: storing", job.job));
    session::catch(|| trial::run(&model, &job.model))?;
    training::report_phase(job.job, "storing", None)?;
    if spilled {
        notes.push("the rows did not fit into ltv.training_memory and were trained on from a temporary file".to_owned());
    }
    for column in &data.cut_short {
        notes.push(format!(
            "column \"{column}\" has more distinct values than ltv.training_memory allows: of those that came late only frequent ones were told apart"
        ));
    }
    if data.unlabelled > 0 {
        let target = &recipe.target;
        notes.push(format!(
            "{} rows without a target \"{target}\" were left out",
            data.unlabelled
        ));
    }
    store::version(job, &recipe, model, &notes)
}

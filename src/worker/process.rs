//! The worker process: claims jobs of its role and runs them one after the other. Without a role it looks at the queue,
//! starts workers for the roles whose turn it is, and ends.

use super::deadline::Deadline;
use super::gpu::Choice;
use super::queue::{self, End, Job};
use super::session::{self, Identity, unexpected};
use super::training::Work;
use super::{gpu, interrupt, lock, login, memory, read, store, training, trial};
use crate::error::{Report, Result, log};
use crate::{allocator, guc, scoring};
use ltv_core::recipe::Recipe;
use pgrx::bgworkers::BackgroundWorker;
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::time::Duration;

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
        log("pg_ltv worker: started without a database and a role");
        return;
    };
    let role = pg_sys::Oid::from(role);
    queue::remember_servers_settings();
    if let Err(report) = login::connect(database.into(), role) {
        log(format!("pg_ltv worker: {}", report.message));
        return;
    }
    prepare_session();
    // SAFETY: lives as long as the process. Registered after PostgreSQL's own, it runs before them.
    unsafe { pg_sys::before_shmem_exit(Some(end_with_process), pg_sys::Datum::null()) };

    loop {
        interrupt::reset();
        memory::reset();
        let job = match queue::claim(role) {
            Ok(Some(job)) => job,
            Ok(None) => break,
            Err(report) => {
                log(format!("pg_ltv worker: {}", report.message));
                break;
            }
        };
        lock::begin(job.job);
        let end = run(&job);
        if let Err(report) = queue::finish(job.job, &end) {
            log(format!(
                "pg_ltv job {}: could not write its end: {}",
                job.job, report.message
            ));
        }
        lock::release(job.job);
        if interrupt::terminated() {
            break;
        }
        // A fresh process for each job, unless there is no room to start one beside this one.
        match session::transaction(queue::wake) {
            Ok(false) if !allocator::exhausted() => {}
            _ => break,
        }
    }
}

/// Where the process ends in the middle of a job, as by a termination while SQL of the job's owner runs.
#[pg_guard]
unsafe extern "C-unwind" fn end_with_process(_code: i32, _argument: pg_sys::Datum) {
    let Some(job) = lock::own_job() else { return };
    // SAFETY: the transaction that was going on is over; nothing above this frame uses it any more.
    unsafe { pg_sys::AbortOutOfAnyTransaction() };
    let end = stopped().unwrap_or(End::Lost);
    // An error here would end the process in another way, with nothing else lost.
    let _ = queue::finish(job, &end);
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
        (c"standard_conforming_strings", c"on"),
        (c"transform_null_equals", c"off"),
        #[cfg(not(any(feature = "pg15", feature = "pg16")))]
        (c"transaction_timeout", c"0"),
        (c"application_name", c"pg_ltv"),
    ];
    for (name, value) in fixed {
        session::set_option(name, value, pg_sys::GucAction::GUC_ACTION_SET);
    }
}

/// Why the job was told to stop; `None` where it was not.
fn stopped() -> Option<End> {
    if interrupt::shutting_down() {
        Some(End::Lost)
    } else if interrupt::overdue() {
        let limit = guc::JOB_TIMEOUT.get();
        let report = Report::new(
            PgSqlErrorCode::ERRCODE_QUERY_CANCELED,
            "the job was stopped because it took longer than ltv.job_timeout",
        )
        .detail(format!("The limit is {limit} s."))
        .hint("Train on fewer rows or for fewer epochs, or ask a superuser to raise ltv.job_timeout for the role.");
        Some(End::Failed(report))
    } else {
        interrupt::canceled().then_some(End::Canceled)
    }
}

fn run(job: &Job) -> End {
    let limit = guc::JOB_TIMEOUT.get() as u64;
    let deadline = Deadline::start((limit > 0).then(|| Duration::from_secs(limit)));
    let outcome = match &deadline {
        Ok(_) => train_and_store(job),
        Err(error) => Err(unexpected(error)),
    };
    drop(deadline);
    match outcome {
        Ok(version) => {
            log(format!(
                "pg_ltv job {}: stored version {version} of model \"{}\"",
                job.job, job.model
            ));
            End::Succeeded
        }
        Err(report) => {
            let end = stopped().unwrap_or(End::Failed(report));
            match &end {
                End::Failed(report) => log(format!("pg_ltv job {}: {}", job.job, report.message)),
                End::Canceled => log(format!("pg_ltv job {}: canceled", job.job)),
                _ => {}
            }
            end
        }
    }
}

/// What the queue has of a job.
struct Order {
    settings: serde_json::Value,
    recipe: serde_json::Value,
}

impl Order {
    fn read(job: &Job) -> Result<Self> {
        let read = |text: &str, what: &str| {
            let json: serde_json::Value = serde_json::from_str(text).map_err(|error| {
                Report::new(
                    PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
                    format!("the {what} of the job cannot be read"),
                )
                .detail(format!("It is not the JSON that is expected: {error}."))
                .hint("Queue the job again with ltv_train.")
            })?;
            Ok::<_, Report>(json)
        };
        Ok(Self {
            settings: read(&job.settings, "settings")?,
            recipe: read(&job.recipe, "recipe")?,
        })
    }
}

/// What users ask for, as far as the administrator lets them.
fn capped(asked: i32, most: i32, setting: &str, notes: &mut Vec<String>) -> usize {
    if asked > most {
        notes.push(format!(
            "{setting} of {asked} was lowered to {most}, as ltv.max_{} demands",
            setting.trim_start_matches("ltv.")
        ));
    }
    asked.min(most) as usize
}

/// Threads of a job where nobody says: one, so that queries keep the processors, or two where there are some to spare.
fn usual_threads() -> i32 {
    const TO_SPARE: usize = 4;
    match std::thread::available_parallelism() {
        Ok(processors) if processors.get() >= TO_SPARE => 2,
        _ => 1,
    }
}

/// Megabytes of a training in a process whose memory the system bounds: a third of what it may still take, because
/// estimates are what is compared with it.
fn fitted(megabytes: usize, notes: &mut Vec<String>) -> usize {
    let room = memory::room().map_or(usize::MAX, |bytes| (bytes / 3) >> 20);
    if room < megabytes {
        notes.push(format!(
            "ltv.training_memory of {megabytes} MB was lowered to {room} MB, a third of what the system lets the worker take"
        ));
    }
    megabytes.min(room)
}

/// Reads the rows, and completes the recipe with what is known then.
fn read_rows(
    job: &Job,
    order: &Order,
    recipe: &mut Recipe,
    notes: &mut Vec<String>,
) -> Result<read::Data> {
    let wanted = read::Wanted::of(&order.recipe);
    session::report_activity(&format!("pg_ltv job {}: reading", job.job));
    let read = session::transaction(|| {
        // SAFETY: only ever from read-write to read-only, for the rest of this transaction.
        unsafe { pg_sys::XactReadOnly = true };
        recipe.warm_start = store::earlier_weights(job, &order.recipe)?;
        let _owner = Identity::restricted(job.owner);
        session::apply_settings(&order.settings)?;
        let memory = capped(
            guc::TRAINING_MEMORY.get(),
            guc::MAX_TRAINING_MEMORY.get(),
            "ltv.training_memory",
            notes,
        );
        let memory = fitted(memory, notes);
        let threads = guc::TRAINING_THREADS.get();
        recipe.memory = Some(memory << 20);
        let data = interrupt::while_owners_code(|| read::load(recipe, &wanted, memory << 20))?;
        Ok((data, threads))
    });
    let (data, threads) = read.map_err(|report| match report.sqlstate {
        PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED if report.hint.is_none() => report.hint(
            "Raise temp_file_limit for the role that trains, or ltv.training_memory, beyond which rows go to temporary files.",
        ),
        _ => report,
    })?;
    let most = guc::MAX_TRAINING_THREADS.get();
    let asked = match (recipe.options.threads, threads) {
        (Some(asked), _) => asked as i32,
        (None, 0) => usual_threads().min(most),
        (None, threads) => threads,
    };
    recipe.options.threads = Some(capped(asked, most, "ltv.training_threads", notes));
    recipe.options.horizon = recipe.options.horizon.or(data.horizon);
    let rows = data.training.rows;
    training::report_phase(job.job, "preprocessing", Some(rows as i64))?;
    session::report_activity(&format!("pg_ltv job {}: training on {rows} rows", job.job));
    Ok(data)
}

fn train_and_store(job: &Job) -> Result<i32> {
    let order = Order::read(job)?;
    let mut recipe = Recipe::from_json(&order.recipe)?;
    let mut caps = Vec::new();
    let mut data = read_rows(job, &order, &mut recipe, &mut caps)?;
    let spilled = data.training.spilled.is_some();
    let mut choice = Choice::of(&recipe, &data.training)?;
    let (mut model, mut notes) = loop {
        let is_automatic = choice.gpu.as_ref().is_some_and(|gpu| gpu.is_automatic);
        let work = Work {
            data: data.training,
            recipe: recipe.clone(),
            asked: order.recipe.clone(),
            gpu: choice.gpu,
        };
        match training::run(work, job.job) {
            // The GPU has taken the rows along.
            Err(report) if is_automatic && gpu::is_of_the_device(&report) => {
                choice = Choice::cpu(Some(gpu::instead(&report)));
                drop(data.file);
                caps.clear();
                data = read_rows(job, &order, &mut recipe, &mut caps)?;
            }
            outcome => break outcome?,
        }
    };
    notes.extend(choice.note);
    notes.extend(caps);
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
    notes.extend(data.sample.remark());
    if let Some(sample) = data.sample.to_json() {
        model.statistics["sample"] = sample;
    }
    store::version(job, &order.settings, &order.recipe, &recipe, model, &notes)
}

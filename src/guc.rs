//! Settings `ltv.*`. Each has a purpose in one line, a range and a default; the prefix is reserved, so that a
//! misspelt setting is an error.

use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting, pg_sys};
use std::ffi::CString;

/// Model of the `ltv_predict*` calls that name none.
pub static DEFAULT_MODEL: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);

/// Where ONNX Runtime lies; empty: environment variable ORT_DYLIB_PATH, then $libdir/pg_ltv, then the loader's path.
pub static ONNXRUNTIME_LIBRARY: GucSetting<Option<CString>> =
    GucSetting::<Option<CString>>::new(None);

/// Where the library that trains on GPUs lies; empty: $libdir/pg_ltv.
pub static CUDA_LIBRARY: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);

/// How many models a backend keeps ready to score. A model in use by a running statement is kept on top of that.
pub static SESSION_CACHE_SIZE: GucSetting<i32> = GucSetting::<i32>::new(8);

/// Whether plans are given batch scans.
pub static ENABLE_BATCH_SCAN: GucSetting<bool> = GucSetting::<bool>::new(true);

/// Rows that a batch scan predicts at once. Between 256 and 4096 the measured differences are small; larger batches
/// leave the processor's caches.
pub static BATCH_SIZE: GucSetting<i32> = GucSetting::<i32>::new(1024);

/// Bound on the memory that ONNX Runtime and the rows on their way into it take, in megabytes: many times what a model
/// of customers takes, and few enough for a server with many sessions.
pub static SCORING_MEMORY: GucSetting<i32> = GucSetting::<i32>::new(1024);

/// Whether graphs are let in whose work depends on the values of their inputs.
pub static ALLOW_CONTROL_FLOW: GucSetting<bool> = GucSetting::<bool>::new(false);

/// How many training jobs of a database run at the same time.
pub static MAX_CONCURRENT_JOBS: GucSetting<i32> = GucSetting::<i32>::new(2);

/// How many of them may be one role's; 0: all but one, superusers all.
pub static MAX_JOBS_PER_ROLE: GucSetting<i32> = GucSetting::<i32>::new(0);

/// How long a job may take, in seconds; 0: as long as it likes.
pub static JOB_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(0);

/// Ceiling of `TRAINING_MEMORY`, which users set.
pub static MAX_TRAINING_MEMORY: GucSetting<i32> = GucSetting::<i32>::new(1 << 20);

/// Ceiling of `TRAINING_THREADS` and of the option that overrides it.
pub static MAX_TRAINING_THREADS: GucSetting<i32> = GucSetting::<i32>::new(256);

/// Bound on the memory of a training job, in megabytes. More than maintenance_work_mem, because a training that reads
/// its rows from a file is slower, and less than would hurt beside the queries of a small server: few have more rows.
pub static TRAINING_MEMORY: GucSetting<i32> = GucSetting::<i32>::new(4096);

/// Threads of a training job that does not say how many.
pub static TRAINING_THREADS: GucSetting<i32> = GucSetting::<i32>::new(0);

pub fn init() {
    GucRegistry::define_string_guc(
        c"ltv.default_model",
        c"Sets the model that ltv_predict uses where the call names none.",
        c"Empty: such a call is an error.",
        &DEFAULT_MODEL,
        GucContext::Userset,
        GucFlags::default(),
    );
    // Whoever chooses the library runs code in the server, so only a superuser may.
    GucRegistry::define_string_guc(
        c"ltv.onnxruntime_library",
        c"Sets the path of the ONNX Runtime library.",
        c"Empty: the environment variable ORT_DYLIB_PATH, then $libdir/pg_ltv/libonnxruntime.so, then the system's library path.",
        &ONNXRUNTIME_LIBRARY,
        GucContext::Suset,
        GucFlags::SUPERUSER_ONLY,
    );
    GucRegistry::define_string_guc(
        c"ltv.cuda_library",
        c"Sets the path of the library that trains on NVIDIA GPUs.",
        c"Empty: $libdir/pg_ltv/libltv_cuda.so. Only the worker of a job that wants a GPU opens it.",
        &CUDA_LIBRARY,
        GucContext::Suset,
        GucFlags::SUPERUSER_ONLY,
    );
    GucRegistry::define_int_guc(
        c"ltv.session_cache_size",
        c"Sets how many models each backend keeps ready to score.",
        c"The least recently used one is dropped first.",
        &SESSION_CACHE_SIZE,
        1,
        1024,
        GucContext::Userset,
        GucFlags::default(),
    );
    // One for all sessions, because workers of several roles share the queue.
    GucRegistry::define_int_guc(
        c"ltv.max_concurrent_jobs",
        c"Sets how many training jobs of a database run at the same time.",
        c"Each takes one of max_worker_processes; further jobs wait in the queue.",
        &MAX_CONCURRENT_JOBS,
        1,
        256,
        GucContext::Sighup,
        GucFlags::default(),
    );
    // What an administrator gives a role by ALTER ROLE ... SET counts, because a worker is the job's owner.
    GucRegistry::define_int_guc(
        c"ltv.max_jobs_per_role",
        c"Sets how many training jobs of one role run at the same time in a database.",
        c"0: all but one of ltv.max_concurrent_jobs, so that no role keeps the others waiting; superusers all.",
        &MAX_JOBS_PER_ROLE,
        0,
        256,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"ltv.job_timeout",
        c"Sets how long a training job may take.",
        c"0: no limit.",
        &JOB_TIMEOUT,
        0,
        i32::MAX,
        GucContext::Suset,
        GucFlags::UNIT_S,
    );
    GucRegistry::define_int_guc(
        c"ltv.max_training_memory",
        c"Sets the ceiling of ltv.training_memory.",
        c"A job whose session asks for more gets this.",
        &MAX_TRAINING_MEMORY,
        32,
        1 << 20,
        GucContext::Suset,
        GucFlags::UNIT_MB,
    );
    GucRegistry::define_int_guc(
        c"ltv.max_training_threads",
        c"Sets the ceiling of ltv.training_threads and of the option threads.",
        c"A job that asks for more gets this.",
        &MAX_TRAINING_THREADS,
        1,
        256,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"ltv.training_memory",
        c"Sets how much memory a training job may take.",
        c"Rows beyond it go to temporary files. A job takes the value of the session that queues it along.",
        &TRAINING_MEMORY,
        32,
        1 << 20,
        GucContext::Userset,
        GucFlags::UNIT_MB,
    );
    GucRegistry::define_int_guc(
        c"ltv.training_threads",
        c"Sets the number of threads of a training job whose options do not.",
        c"0: two where the server has four processors or more, one elsewhere. A job takes the value of the session that queues it along.",
        &TRAINING_THREADS,
        0,
        256,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"ltv.enable_batch_scan",
        c"Enables the planner's use of batch scans for ltv_predict and its relatives.",
        c"Off: each row is predicted by itself. The results are the same.",
        &ENABLE_BATCH_SCAN,
        GucContext::Userset,
        GucFlags::EXPLAIN,
    );
    GucRegistry::define_int_guc(
        c"ltv.batch_size",
        c"Sets how many rows a batch scan predicts at once.",
        c"A scan begins with one row and doubles up to this.",
        &BATCH_SIZE,
        1,
        65536,
        GucContext::Userset,
        GucFlags::EXPLAIN,
    );
    GucRegistry::define_int_guc(
        c"ltv.scoring_memory",
        c"Sets how much memory ONNX Runtime may take in a session.",
        c"A prediction that needs more fails. Models that are loaded already keep the bound they were loaded with.",
        &SCORING_MEMORY,
        32,
        1 << 20,
        GucContext::Suset,
        GucFlags::UNIT_MB,
    );
    GucRegistry::define_bool_guc(
        c"ltv.allow_control_flow",
        c"Allows ONNX graphs with loops, branches and computed sizes.",
        c"How long such a graph takes depends on the values that it is given.",
        &ALLOW_CONTROL_FLOW,
        GucContext::Suset,
        GucFlags::default(),
    );
    // Other areas register theirs here.

    reserve_prefix();
}

fn reserve_prefix() {
    // SAFETY: a constant, NUL-terminated string.
    unsafe { pg_sys::MarkGUCPrefixReserved(c"ltv".as_ptr()) }
}

//! Training in the library for GPUs, without a GPU: in a build of it for the CPU, and in libraries that only fail.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use postgres::Client;

use super::jobs::{LONG, wait_for_status, wait_for_training};
use super::{customers, ensure_eq};
use crate::shell;
use crate::workspace::{Template, Workspace};

/// How a job ended, as its user reads it.
#[derive(Debug)]
struct End {
    status: String,
    sqlstate: String,
    message: String,
    detail: String,
    hint: String,
    /// Of the version's graph and weights.
    model: String,
}

struct Server {
    client: Client,
    database: String,
    directory: PathBuf,
}

impl Server {
    /// The library that the next worker opens; none: the one beside the extension, which is not there.
    fn set_library(&mut self, library: &str) -> Result<()> {
        let sql = format!(
            "alter database {} set ltv.cuda_library = '{library}'",
            self.database
        );
        Ok(self.client.batch_execute(&sql)?)
    }

    fn queue(&mut self, relation: &str, arguments: &str) -> Result<i64> {
        let sql = format!("select ltv_train('m', '{relation}', {arguments})");
        Ok(self.client.query_one(&sql, &[])?.get(0))
    }

    fn train(&mut self, relation: &str, arguments: &str) -> Result<End> {
        let job = self.queue(relation, arguments)?;
        // An error where the job fails.
        let _ = self
            .client
            .query_one("select ltv_wait($1::bigint)", &[&job]);
        let sql = "select j.status, j.sqlstate, j.message, j.detail, j.hint, v.checksum || md5(v.weights) \
                   from ltv.jobs j left join ltv.versions v using (model, version) where j.job = $1";
        let row = self.client.query_one(sql, &[&job])?;
        let text = |column: usize| row.get::<_, Option<String>>(column).unwrap_or_default();
        Ok(End {
            status: text(0),
            sqlstate: text(1),
            message: text(2),
            detail: text(3),
            hint: text(4),
            model: text(5),
        })
    }

    /// Trains a few rows on `device`.
    fn train_on(&mut self, device: &str) -> Result<End> {
        let options =
            format!(r#"options => '{{"epochs": 2, "ensemble": 1, "device": "{device}"}}'"#);
        self.train("customers", &options)
    }

    /// Trains on a table that is worth a GPU.
    fn train_large(&mut self, device: &str) -> Result<End> {
        let options = format!(
            r#"backbone => 'gru', options => '{{"epochs": 1, "ensemble": 1, "recurrent_sizes": [4], "hidden_sizes": [4], "device": "{device}"}}'"#
        );
        self.train("large", &options)
    }

    /// Compiles a library of C.
    fn compile(&self, name: &str, source: &str, arguments: &[&str]) -> Result<PathBuf> {
        let (file, library) = (
            self.directory.join(format!("{name}.c")),
            self.directory.join(format!("lib{name}.so")),
        );
        fs::write(&file, source)?;
        shell::capture(
            Command::new("cc")
                .args(["-shared", "-fPIC", "-o"])
                .args([&library, &file])
                .args(arguments),
        )?;
        Ok(library)
    }

    /// With this library a job that insists on the GPU fails like this.
    fn ensure_fails(&mut self, library: &Path, sqlstate: &str, message: &str) -> Result<End> {
        self.set_library(&library.display().to_string())?;
        let end = self.train_on("cuda")?;
        let shown = (
            end.status.as_str(),
            end.sqlstate.as_str(),
            end.message.as_str(),
        );
        ensure_eq(
            shown,
            ("failed", sqlstate, message),
            &library.display().to_string(),
        )?;
        if end.detail.is_empty() || end.hint.is_empty() {
            bail!("an error needs a detail and a hint: {end:?}");
        }
        Ok(end)
    }

    /// With the library of before a job that leaves the device open is trained on the CPU, and says why.
    fn ensure_falls_back(&mut self, reason: &str) -> Result<()> {
        let end = self.train_large("auto")?;
        let why = "trained on the CPU, because the GPU could not be used: ";
        if end.status != "succeeded" || !end.message.contains(&format!("{why}{reason}")) {
            bail!("expected \"{why}{reason}\": {end:?}");
        }
        Ok(())
    }
}

pub fn library(workspace: &Workspace) -> Result<()> {
    let database = workspace.database("gpu", Template::Extension)?;
    let cluster = &workspace.cluster;
    customers(cluster, &database, 2000)?;
    cluster.psql(
        &database,
        "create table large as select n as customer_id, array[[n % 7], [n % 13], [n % 17]]::real[] as history, n % 11 as a,
             'k' || n % 3 as b, greatest(n * 7919 % 101 - 50, 0)::float8 as ltv from generate_series(1, 20000) n",
    )?;
    let directory = workspace.new_directory("gpu");
    fs::create_dir_all(&directory)?;
    let mut server = Server {
        client: cluster.connect(&database)?,
        database,
        directory,
    };
    not_installed(&mut server)?;
    let build = trains_alike(&mut server)?;
    loading_fails(&mut server)?;
    device_fails(&mut server, &build)
}

/// Nobody who did not ask for a GPU hears of it.
fn not_installed(server: &mut Server) -> Result<()> {
    let end = server.train_on("cuda")?;
    ensure_eq(
        (end.sqlstate.as_str(), end.message.as_str()),
        ("58P01", "the library that trains on a GPU is not installed"),
        "without a library",
    )?;
    if !end.hint.contains("cargo xtask build-cuda") {
        bail!("the hint does not say how to get the library: {}", end.hint);
    }
    let quiet = server.train_large("auto")?;
    ensure_eq(
        (quiet.status.as_str(), quiet.message.as_str()),
        ("succeeded", ""),
        "auto without a library",
    )
}

/// The library gives the model of the extension, bit for bit, and passes on what happens meanwhile. Returns the build
/// that libraries must be of.
fn trains_alike(server: &mut Server) -> Result<String> {
    // Built with the workspace, like this program.
    let built = std::env::current_exe()?.with_file_name("libltv_cuda.so");
    let library = server.directory.join("libltv_cuda.so");
    fs::copy(&built, &library).with_context(|| format!("cannot copy {}", built.display()))?;
    server.set_library(&library.display().to_string())?;

    let by_extension = server.train_on("cpu")?;
    for device in ["cuda", "cuda:0"] {
        let by_library = server.train_on(device)?;
        ensure_eq(&by_library.model, &by_extension.model, "the model")?;
        ensure_eq(
            by_library.message.as_str(),
            "trained on cuda:0, CPU (the library was built without CUDA)",
            "what is said about it",
        )?;
    }
    let small = server.train_on("auto")?;
    ensure_eq(small.message.as_str(), "", "a few rows are not worth a GPU")?;
    let by_extension = server.train_large("cpu")?;
    let by_library = server.train_large("auto")?;
    ensure_eq(&by_library.model, &by_extension.model, "the model")?;
    if !by_library.message.starts_with("trained on cuda:0") {
        bail!("many rows are worth a GPU: {by_library:?}");
    }

    let missing = server.train_on("cuda:3")?;
    ensure_eq(
        (missing.sqlstate.as_str(), missing.message.as_str()),
        ("22023", "there is no device \"cuda:3\""),
        "a device that is not there",
    )?;
    // What the trainer refuses it refuses there too.
    let mut refused = |device: &str| {
        let options = format!(r#"options => '{{"device": "{device}", "blend_bgnbd": true}}'"#);
        server.train("customers", &options)
    };
    let (by_extension, by_library) = (refused("cpu")?, refused("cuda")?);
    ensure_eq(
        by_library.status.as_str(),
        "failed",
        "a job that cannot be done",
    )?;
    ensure_eq(
        format!("{by_library:?}"),
        format!("{by_extension:?}"),
        "an error of the trainer",
    )?;
    let long = LONG.replace('{', r#"{"device": "cuda", "#);
    let job = server.queue("customers", &format!("options => '{long}'"))?;
    wait_for_training(&mut server.client, job)?;
    server.client.query_one("select ltv_cancel($1)", &[&job])?;
    wait_for_status(&mut server.client, job, "canceled")?;

    // Rows in a file, which the library reads through the worker.
    let sql = "create table spilled as select c.customer_id || '-' || g as customer_id, c.country, c.ltv,
                   array_fill(c.recency::real, array[1200]) as x from customers c, generate_series(1, 5) g;
               set ltv.training_memory = '32MB'";
    server.client.batch_execute(sql)?;
    let train = |server: &mut Server, device: &str| {
        let options = format!(
            r#"backbone => 'linear', options => '{{"epochs": 1, "ensemble": 1, "device": "{device}"}}'"#
        );
        server.train("spilled", &options)
    };
    let by_extension = train(server, "cpu")?;
    let by_library = train(server, "cuda")?;
    server.client.batch_execute("reset ltv.training_memory")?;
    if !by_library.message.contains("temporary file") {
        bail!("the rows were to be in a file: {by_library:?}");
    }
    ensure_eq(
        &by_library.model,
        &by_extension.model,
        "the model of rows in a file",
    )?;

    let other = server.compile(
        "other",
        r#"
        unsigned ltv_cuda_version(void) { return 1; }
        const char *ltv_cuda_build(void) { return "0.0.1-0"; }
        "#,
        &[],
    )?;
    let message = "the library that trains on a GPU is of another build than the extension";
    let end = server.ensure_fails(&other, "55000", message)?;
    let build = end.detail.split("the extension is ").nth(1);
    let build = build.and_then(|rest| rest.split(',').next());
    Ok(build.context("the builds are not named")?.to_owned())
}

/// What the dynamic linker cannot load.
fn loading_fails(server: &mut Server) -> Result<()> {
    // Linked against the driver and CUDA, which are then gone.
    for (missing, message) in [
        ("libcuda.so.1", "the NVIDIA driver is not installed"),
        ("libcublas.so.13", "the libraries of CUDA are not installed"),
    ] {
        let name = missing.split('.').next().unwrap_or_default();
        let soname = format!("-Wl,-soname,{missing}");
        let stub = server.compile(&name[3..], "void there(void) {}", &[&soname])?;
        let source = "void there(void); void ltv_cuda_version(void) { there(); }";
        let stub_name = stub.display().to_string();
        let library = server.compile(&format!("needs_{name}"), source, &[&stub_name])?;
        fs::remove_file(&stub)?;
        let end = server.ensure_fails(&library, "58P01", message)?;
        if !end.detail.contains(missing) {
            bail!("what is missing is not named: {end:?}");
        }
        server.ensure_falls_back(message)?;
    }
    let source = "void cuFromTheFuture(void); void ltv_cuda_version(void) { cuFromTheFuture(); }";
    let library = server.compile("newer", source, &[])?;
    server.ensure_fails(&library, "55000", "the NVIDIA driver is too old")?;
    let message = "could not load the library that trains on a GPU";
    server.ensure_fails(Path::new("/no/such/library.so"), "58P01", message)?;
    server.ensure_fails(Path::new("libc.so.6"), "58P01", message)?;
    Ok(())
}

/// What a library of the right build says of its devices.
fn device_fails(server: &mut Server, build: &str) -> Result<()> {
    let library = |server: &Server, name: &str, devices: &str| {
        let source = FAILING.replace("BUILD", build).replace("DEVICES", devices);
        server.compile(name, &source, &[])
    };
    let none = library(server, "none", "failed(caller, &no_device);")?;
    server.ensure_fails(&none, "55000", "there is no CUDA device")?;
    server.ensure_falls_back("there is no CUDA device (The driver")?;
    let full = library(server, "full", "found(caller, &device);")?;
    server.ensure_fails(&full, "53200", "the device is out of memory")?;
    server.ensure_falls_back("the device is out of memory")
}

/// The interface in C: one device that is always out of memory, or none.
const FAILING: &str = r#"
    #include <stddef.h>
    typedef unsigned long long u64;
    typedef struct { const char *data; size_t length; } bytes;
    typedef struct { unsigned kind; bytes message, detail, hint; } failure;
    typedef struct { unsigned index; bytes name; u64 free_memory, total_memory; } device_t;
    typedef struct {
        bytes inputs; unsigned char has_as_of; const void *dictionaries; size_t dictionary_count;
        u64 memory_rows, memory_steps, file_rows, file_steps, file_rows_per_block, rows;
        bytes recipe; unsigned threads; double horizon; bytes warm_start, device;
        void *caller;
        size_t (*next_rows)(void *, char *, size_t);
        int (*read_file)(void *, u64, char *, size_t);
        void (*progress)(void *, const void *);
        void (*notice)(void *, bytes);
        unsigned char (*is_cancelled)(void *);
        void (*trained)(void *, const void *);
        void (*failed)(void *, const failure *);
    } job_t;
    #define TEXT(text) { text, sizeof(text) - 1 }
    static const device_t device = { 0, TEXT("Full"), 1, 2 };
    static const failure no_device = { 7, TEXT("there is no CUDA device"), TEXT("The driver reports none."), TEXT("Look.") };
    static const failure full = { 6, TEXT("the device is out of memory"), TEXT("1 byte is free."), TEXT("Wait.") };
    unsigned ltv_cuda_version(void) { return 1; }
    const char *ltv_cuda_build(void) { return "BUILD"; }
    void ltv_cuda_devices(void *caller, void (*found)(void *, const device_t *), void (*failed)(void *, const failure *)) { DEVICES }
    void ltv_cuda_train(const job_t *job) {
        char records[4096];
        job->next_rows(job->caller, records, sizeof records);
        job->failed(job->caller, &full);
    }
"#;

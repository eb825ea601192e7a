//! `cargo xtask build-cuda`: the library that trains on NVIDIA GPUs. It needs the CUDA toolkit, but no GPU and no driver.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::project::Project;
use crate::{cargo, python, shell};

pub const FILE_NAME: &str = "libltv_cuda.so";

/// What is fetched where this machine has no toolkit: compiler, headers and libraries of CUDA 13.0.
const WHEELS: &[&str] = &[
    "nvidia-cuda-nvcc==13.0.88",
    "nvidia-cuda-crt==13.0.88",
    "nvidia-nvvm==13.0.88",
    "nvidia-cuda-runtime==13.0.96",
    "nvidia-cuda-cccl==13.0.85",
    "nvidia-cuda-nvrtc==13.0.88",
    "nvidia-cublas==13.0.2.14",
    "nvidia-curand==10.4.5.25",
];

/// What the library is linked to: the name to link by, and whether it is needed when it runs.
const LIBRARIES: &[(&str, bool)] = &[
    ("libcublas", true),
    ("libcublasLt", true),
    ("libcurand", true),
    ("libcudart", true),
    ("libnvrtc", false),
];

/// Ampere, and by the driver's compiler everything after it.
const COMPUTE_CAP: &str = "80";

#[derive(clap::Args)]
pub struct Options {
    /// Oldest compute capability that the kernels are for, such as 75, 80 or 90 (default: this machine's GPU, or 80)
    #[arg(long)]
    compute_cap: Option<String>,
    /// The toolkit (default: CUDA_HOME, the one of nvcc, or one that is fetched into the private directory)
    #[arg(long)]
    cuda_home: Option<PathBuf>,
}

pub fn build(project: &Project, options: &Options) -> Result<()> {
    let toolkit = match system_toolkit(options) {
        Some(toolkit) => toolkit,
        None => private_toolkit(project)?,
    };
    let stub = driver_stub(project, &toolkit)?;
    let compute_cap = match &options.compute_cap {
        Some(given) => given.clone(),
        None => std::env::var("CUDA_COMPUTE_CAP")
            .ok()
            .or_else(compute_cap_of_this_machine)
            .unwrap_or_else(|| COMPUTE_CAP.into()),
    };
    shell::step(format!(
        "Building {FILE_NAME} with {} for compute capability {compute_cap} and newer: the kernels take 10 to 30 minutes",
        toolkit.display()
    ));
    let paths = [toolkit.join("lib64"), toolkit.join("lib"), stub];
    let status = cargo::plain_cargo(project)
        .args(["build", "--release", "--package", "ltv-cuda"])
        .args(["--features", "cuda", "--target-dir"])
        .arg(target(project))
        .env("CUDA_HOME", &toolkit)
        .env("CUDA_PATH", &toolkit)
        .env("CUDA_COMPUTE_CAP", compute_cap)
        .env("PATH", with("PATH", &[toolkit.join("bin")])?)
        .env("LIBRARY_PATH", with("LIBRARY_PATH", &paths)?)
        .stdin(Stdio::null())
        .status()
        .context("cannot run cargo")?;
    if !status.success() {
        bail!("the library could not be built ({status})");
    }
    shell::say(
        "`cargo xtask install` and `cargo xtask package` take it along; docs/gpu.md says how to use it",
    );
    println!("{}", library(project).display());
    Ok(())
}

/// Apart from the rest: with another set of features cargo would build that anew each time.
fn target(project: &Project) -> PathBuf {
    project.root.join("target/cuda")
}

fn library(project: &Project) -> PathBuf {
    target(project).join("release").join(FILE_NAME)
}

/// The library, if it was built from the same sources as `extension`.
pub fn built(project: &Project, extension: &Path, version: &str) -> Result<Option<PathBuf>> {
    let library = library(project);
    if !library.is_file() {
        return Ok(None);
    }
    let sources = |path: &Path| -> Result<Option<Vec<u8>>> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(build_of(&bytes, version))
    };
    let wanted = sources(extension)?;
    if wanted.is_some() && sources(&library)? == wanted {
        return Ok(Some(library));
    }
    shell::say(format!(
        "{} is left out: it was built from other sources; run `cargo xtask build-cuda` again",
        library.display()
    ));
    Ok(None)
}

/// The name of the build in a library: the version, a hyphen and sixteen digits.
fn build_of(bytes: &[u8], version: &str) -> Option<Vec<u8>> {
    let head = format!("{version}-").into_bytes();
    bytes
        .windows(head.len() + 17)
        .find(|part| {
            let (start, rest) = part.split_at(head.len());
            let (digits, end) = rest.split_at(16);
            start == head && end == [0] && digits.iter().all(u8::is_ascii_hexdigit)
        })
        .map(<[u8]>::to_vec)
}

/// Libraries of CUDA that were fetched, so that the system does not have them.
pub fn runtime(project: &Project) -> Vec<PathBuf> {
    let directory = private_root(project).join("lib");
    let needed = |name: &str| {
        LIBRARIES
            .iter()
            .any(|(library, runs)| *runs && name.starts_with(&format!("{library}.so.")))
    };
    let mut files: Vec<PathBuf> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| needed(&path.file_name().unwrap_or_default().to_string_lossy()))
        .collect();
    files.sort();
    files
}

fn system_toolkit(options: &Options) -> Option<PathBuf> {
    let of_compiler = |nvcc: PathBuf| {
        let nvcc = nvcc.canonicalize().ok()?;
        Some(nvcc.parent()?.parent()?.to_owned())
    };
    let named = |name: &str| std::env::var_os(name).map(PathBuf::from);
    options
        .cuda_home
        .clone()
        .into_iter()
        .chain(named("CUDA_HOME"))
        .chain(named("CUDA_PATH"))
        .chain(shell::on_path("nvcc").and_then(of_compiler))
        .chain([PathBuf::from("/usr/local/cuda")])
        .find(|home| home.join("bin/nvcc").is_file())
}

fn private_root(project: &Project) -> PathBuf {
    project.home.join("cuda-toolkit/nvidia/cu13")
}

/// The toolkit from Python's packages, in the form that compilers expect.
fn private_toolkit(project: &Project) -> Result<PathBuf> {
    let root = private_root(project);
    let stamp = project.home.join("cuda-toolkit/complete");
    let wanted = WHEELS.join("\n");
    if fs::read_to_string(&stamp).ok().as_deref() == Some(wanted.as_str()) {
        return Ok(root);
    }
    shell::step("Downloading the CUDA toolkit (700 MB; NVIDIA's licence applies to it)");
    let wheels = project.home.join("wheels/cuda");
    fs::create_dir_all(&wheels)?;
    shell::capture(
        python::pip(project)?
            .args(["download", "--no-deps", "--only-binary=:all:", "--quiet"])
            .arg("--dest")
            .arg(&wheels)
            .args(WHEELS),
    )
    .context("cannot download the CUDA toolkit; install NVIDIA's and set CUDA_HOME")?;
    let home = project.home.join("cuda-toolkit");
    if home.exists() {
        fs::remove_dir_all(&home)?;
    }
    for entry in fs::read_dir(&wheels)? {
        shell::capture(
            Command::new(python::interpreter()?)
                .args(["-m", "zipfile", "-e"])
                .arg(entry?.path())
                .arg(&home),
        )?;
    }
    fs::remove_dir_all(&wheels)?;
    // Archives of this kind do not keep what may be run.
    for directory in ["bin", "nvvm/bin"] {
        for entry in fs::read_dir(root.join(directory))? {
            fs::set_permissions(entry?.path(), fs::Permissions::from_mode(0o755))?;
        }
    }
    let lib = root.join("lib");
    for (library, _) in LIBRARIES {
        let versioned = fs::read_dir(&lib)?
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .find(|name| name.starts_with(&format!("{library}.so.")))
            .with_context(|| format!("the toolkit has no {library}"))?;
        symlink(versioned, lib.join(format!("{library}.so")))?;
    }
    fs::write(stamp, wanted)?;
    Ok(root)
}

/// A directory with a libcuda.so to link to: the driver's own is not needed before the library runs.
fn driver_stub(project: &Project, toolkit: &Path) -> Result<PathBuf> {
    for directory in ["lib64/stubs", "lib/stubs", "targets/x86_64-linux/lib/stubs"] {
        let directory = toolkit.join(directory);
        if directory.join("libcuda.so").is_file() {
            return Ok(directory);
        }
    }
    let directory = project.home.join("cuda-stub");
    fs::create_dir_all(&directory)?;
    let header = fs::read_to_string(toolkit.join("include/cuda.h"))
        .context("the toolkit has no include/cuda.h")?;
    let functions: BTreeSet<&str> = header
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| {
            word.starts_with("cu") && word[2..].starts_with(|c: char| c.is_ascii_uppercase())
        })
        .collect();
    let source: String = functions
        .iter()
        .map(|function| format!("void {function}(void) {{}}\n"))
        .collect();
    let file = directory.join("stub.c");
    fs::write(&file, source)?;
    shell::capture(
        Command::new("cc")
            .args(["-w", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o"])
            .arg(directory.join("libcuda.so"))
            .arg(&file),
    )?;
    Ok(directory)
}

fn compute_cap_of_this_machine() -> Option<String> {
    let output = Command::new("nvidia-smi")
        .args(["--query-gpu=compute_cap", "--format=csv,noheader"])
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let oldest = text.lines().filter_map(|line| {
        let (major, minor) = line.trim().split_once('.')?;
        Some(major.parse::<u32>().ok()? * 10 + minor.parse::<u32>().ok()?)
    });
    oldest.min().map(|cap| cap.to_string())
}

/// The variable with these paths in front.
fn with(variable: &str, paths: &[PathBuf]) -> Result<std::ffi::OsString> {
    let before = std::env::var_os(variable).unwrap_or_default();
    let all = paths.iter().cloned().chain(std::env::split_paths(&before));
    Ok(std::env::join_paths(
        all.filter(|path| !path.as_os_str().is_empty()),
    )?)
}

#[cfg(test)]
mod tests {
    #[test]
    fn builds_are_found_in_libraries() {
        let bytes = b"..0.1.0-beta 0.1.0-0123456789abcdef\0..";
        let found = super::build_of(bytes, "0.1.0");
        assert_eq!(
            found.as_deref(),
            Some(b"0.1.0-0123456789abcdef\0".as_slice())
        );
        assert_eq!(super::build_of(bytes, "0.2.0"), None);
    }
}

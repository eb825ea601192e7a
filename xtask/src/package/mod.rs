//! `cargo xtask package`: the built extension as an archive, Debian packages and an rpm, with all that the law wants beside it.

mod bom;
mod debian;
pub mod licences;
mod rpm;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::dependencies::Dependencies;
use crate::extension::{self, Built, Target};
use crate::postgres_install::{Install, NEWEST, OLDEST};
use crate::project::Project;
use crate::setup::{self, Needs};
use crate::{onnxruntime, releases, shell};

#[derive(clap::Args)]
pub struct Options {
    /// The pg_config of the PostgreSQL to build for
    #[arg(long, conflicts_with = "all")]
    pg_config: Option<PathBuf>,
    /// For each major version of which there are headers, here or to be fetched
    #[arg(long)]
    all: bool,
}

pub fn run(project: &Project, options: &Options) -> Result<()> {
    if !options.all {
        return package(project, options.pg_config.as_deref()).map(drop);
    }
    let mut missing = Vec::new();
    for major in OLDEST..=NEWEST {
        match releases::headers(project, major) {
            Ok(pg_config) => drop(package(project, Some(&pg_config))?),
            Err(error) => missing.push(format!("{error:#}")),
        }
    }
    if !missing.is_empty() {
        bail!("not packaged: {}", missing.join("; "));
    }
    Ok(())
}

/// Makes the packages for one PostgreSQL, and returns their paths.
pub fn package(project: &Project, pg_config: Option<&Path>) -> Result<Vec<PathBuf>> {
    let install = setup::ensure(project, Needs::default(), pg_config)?;
    shell::step(format!("Building the extension for {}", install.version));
    let built = extension::build(project, &install)?.with_cuda(project, false)?;
    let output = project.root.join("target/package");
    fs::create_dir_all(&output)?;
    let release = Release {
        project,
        papers: Papers::gather(project, &built)?,
        install,
        built,
        output,
        epoch: epoch(project)?,
    };
    let mut made = vec![archive(&release)?];
    if shell::on_path("dpkg-deb").is_some() {
        made.extend(debian::packages(&release)?);
    }
    if shell::on_path("rpmbuild").is_some() {
        made.push(rpm::package(&release, &made[0])?);
    }
    for path in &made {
        println!("{}", path.display());
    }
    Ok(made)
}

/// What is packaged.
struct Release<'a> {
    project: &'a Project,
    install: Install,
    built: Built,
    papers: Papers,
    output: PathBuf,
    /// Seconds: the time that every packaged file bears, so that the same sources make the same packages.
    epoch: String,
}

fn epoch(project: &Project) -> Result<String> {
    if let Ok(given) = std::env::var("SOURCE_DATE_EPOCH") {
        return Ok(given);
    }
    let committed = shell::output(
        Command::new("git")
            .args(["log", "-1", "--format=%ct"])
            .current_dir(&project.root),
    );
    Ok(committed
        .ok()
        .filter(|output| output.status.success())
        .map_or_else(
            || "0".into(),
            |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        ))
}

/// Licences, notices and the bill of materials, by the name that each has in a package.
struct Papers(Vec<(String, Vec<u8>)>);

impl Papers {
    fn gather(project: &Project, built: &Built) -> Result<Papers> {
        let features = format!("pg_ltv/pg{NEWEST}");
        let dependencies = match built.has_cuda() {
            false => Dependencies::of(project, &["pg_ltv"], &features)?,
            true => {
                let features = format!("{features},ltv-cuda/cuda");
                Dependencies::of(project, &["pg_ltv", "ltv-cuda"], &features)?
            }
        };
        licences::check(project, &dependencies)?;
        let bom = bom::cyclonedx(&built.version, &dependencies);
        let mut papers = vec![
            (
                "licences/LICENSE-crates.txt".into(),
                licences::notices(&dependencies)?.into_bytes(),
            ),
            (
                "licences/COPYRIGHT-rust.html".into(),
                fs::read(licences::standard_library()?)?,
            ),
            ("pg_ltv.cdx.json".into(), serde_json::to_vec_pretty(&bom)?),
        ];
        for path in onnxruntime::papers(project)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            papers.push((format!("licences/onnxruntime/{name}"), fs::read(&path)?));
        }
        Ok(Papers(papers))
    }

    fn put(&self, directory: &Path) -> Result<()> {
        for (name, content) in &self.0 {
            write(&directory.join(name), content)?;
        }
        Ok(())
    }
}

fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}

fn fresh_directory(path: &Path) -> Result<()> {
    if path.exists() {
        fs::remove_dir_all(path)?;
    }
    fs::create_dir_all(path).with_context(|| format!("cannot create {}", path.display()))
}

/// Copy every file of the extension below `library` and `extension`; returns the libraries.
fn stage(built: &Built, library: &Path, extension: &Path) -> Result<Vec<PathBuf>> {
    let mut libraries = Vec::new();
    for (target, content) in built.layout() {
        match target {
            Target::Library(name) => {
                let path = library.join(name);
                content.put(&path)?;
                libraries.push(path);
            }
            Target::Extension(name) => content.put(&extension.join(name))?,
        }
    }
    Ok(libraries)
}

/// The pages, and what `docs/` shows in them.
fn stage_documents(project: &Project, to: &Path) -> Result<()> {
    for name in ["README.md", "SECURITY.md"] {
        write(&to.join(name), fs::read(project.root.join(name))?)?;
    }
    for entry in fs::read_dir(project.root.join("docs"))? {
        let path = entry?.path();
        if path.is_file() {
            let name = path.file_name().unwrap_or_default();
            write(&to.join("docs").join(name), fs::read(&path)?)?;
        }
    }
    Ok(())
}

/// lib/ goes to `pg_config --pkglibdir`, share/ to `pg_config --sharedir`.
fn archive(release: &Release) -> Result<PathBuf> {
    let name = format!(
        "pg_ltv-{}-pg{}-{}-{}",
        release.built.version,
        release.install.major,
        std::env::consts::OS,
        std::env::consts::ARCH
    );
    let directory = release.output.join(&name);
    fresh_directory(&directory)?;
    let libraries = stage(
        &release.built,
        &directory.join("lib"),
        &directory.join("share/extension"),
    )?;
    for library in &libraries {
        extension::strip_debug_lines(library)?;
    }
    stage_documents(release.project, &directory)?;
    for name in ["LICENSE", "CHANGELOG.md"] {
        write(
            &directory.join(name),
            fs::read(release.project.root.join(name))?,
        )?;
    }
    release.papers.put(&directory)?;
    let file = release.output.join(format!("{name}.tar.gz"));
    shell::capture(
        Command::new("tar")
            .args(["--owner=0", "--group=0", "--sort=name"])
            .arg(format!("--mtime=@{}", release.epoch))
            .args(["--create", "--use-compress-program=gzip -9 -n", "--file"])
            .arg(&file)
            .arg("--directory")
            .arg(&release.output)
            .arg(&name),
    )?;
    fs::remove_dir_all(&directory)?;
    Ok(file)
}

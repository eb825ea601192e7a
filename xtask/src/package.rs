//! `cargo xtask package`: the built extension as an archive, and as a Debian package where that can be made.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::extension::{self, Built, Target};
use crate::postgres_install::Install;
use crate::project::Project;
use crate::setup::{self, Needs};
use crate::shell;

pub fn run(project: &Project, pg_config: Option<&Path>) -> Result<()> {
    let install = setup::ensure(project, Needs::default(), pg_config)?;
    shell::step(format!("Building the extension for {}", install.version));
    let built = extension::build(project, &install)?.with_cuda(project, false)?;
    let output = project.root.join("target/package");
    fs::create_dir_all(&output)?;
    println!("{}", archive(project, &install, &built, &output)?.display());
    if shell::on_path("dpkg-deb").is_some() && install.lib.starts_with("/usr/lib/postgresql") {
        println!("{}", debian(project, &install, &built, &output)?.display());
    }
    Ok(())
}

fn fresh_directory(path: &Path) -> Result<()> {
    if path.exists() {
        fs::remove_dir_all(path)?;
    }
    fs::create_dir_all(path).with_context(|| format!("cannot create {}", path.display()))
}

/// Copy every file of the extension below `library` and `extension`, without debug information.
fn stage(built: &Built, library: &Path, extension: &Path) -> Result<()> {
    for (target, content) in built.layout() {
        let path = match &target {
            Target::Library(name) => library.join(name),
            Target::Extension(name) => extension.join(name),
        };
        content.put(&path)?;
        if matches!(target, Target::Library(_)) && shell::on_path("strip").is_some() {
            shell::capture(Command::new("strip").arg("--strip-debug").arg(&path))?;
        }
    }
    Ok(())
}

fn copy_documents(project: &Project, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for name in ["README.md", "LICENSE", "CHANGELOG.md"] {
        let path = project.root.join(name);
        if path.is_file() {
            fs::copy(path, to.join(name))?;
        }
    }
    Ok(())
}

/// lib/ goes to `pg_config --pkglibdir`, share/ to `pg_config --sharedir`.
fn archive(project: &Project, install: &Install, built: &Built, output: &Path) -> Result<PathBuf> {
    let name = format!(
        "pg_ltv-{}-pg{}-{}-{}",
        built.version,
        install.major,
        std::env::consts::OS,
        std::env::consts::ARCH
    );
    let directory = output.join(&name);
    fresh_directory(&directory)?;
    stage(
        built,
        &directory.join("lib"),
        &directory.join("share/extension"),
    )?;
    copy_documents(project, &directory)?;
    let file = output.join(format!("{name}.tar.gz"));
    shell::capture(
        Command::new("tar")
            .args(["--owner=0", "--group=0", "--create", "--gzip", "--file"])
            .arg(&file)
            .arg("--directory")
            .arg(output)
            .arg(&name),
    )?;
    fs::remove_dir_all(&directory)?;
    Ok(file)
}

fn debian(project: &Project, install: &Install, built: &Built, output: &Path) -> Result<PathBuf> {
    let architecture = shell::capture(Command::new("dpkg").arg("--print-architecture"))?;
    let architecture = architecture.trim();
    let name = format!("postgresql-{}-pg-ltv", install.major);
    let directory = output.join(&name);
    fresh_directory(&directory)?;
    let inside = |path: &Path| -> Result<PathBuf> { Ok(directory.join(path.strip_prefix("/")?)) };
    stage(
        built,
        &inside(&install.lib)?,
        &inside(&install.share.join("extension"))?,
    )?;
    copy_documents(project, &directory.join("usr/share/doc").join(&name))?;
    fs::create_dir_all(directory.join("DEBIAN"))?;
    fs::write(
        directory.join("DEBIAN/control"),
        format!(
            "Package: {name}\nVersion: {}\nArchitecture: {architecture}\nSection: database\nPriority: optional\n\
             Maintainer: the pg_ltv developers\nDepends: postgresql-{}\n\
             Description: customer lifetime value in PostgreSQL\n \
             Builds features from orders, trains models in a background worker, keeps them as\n \
             rows and scores any query.\n",
            built.version, install.major
        ),
    )?;
    let file = output.join(format!("{name}_{}_{architecture}.deb", built.version));
    shell::capture(
        Command::new("dpkg-deb")
            .args(["--root-owner-group", "--build"])
            .arg(&directory)
            .arg(&file),
    )?;
    fs::remove_dir_all(&directory)?;
    Ok(file)
}

//! The images of packaging/, made by buildah, which needs no daemon and no registry: a bare system stands in for what they are made on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::workspace::Workspace;
use crate::{files, shell};

/// Images of one place, which goes with the workspace once nothing is mounted there.
pub struct Images<'a> {
    workspace: &'a Workspace,
    place: PathBuf,
}

impl<'a> Images<'a> {
    /// None where there is no buildah.
    pub fn begin(workspace: &'a Workspace) -> Option<Images<'a>> {
        shell::on_path("buildah")?;
        let place = workspace.new_directory("images");
        Some(Images { workspace, place })
    }

    fn buildah(&self, command: &str) -> Command {
        let mut buildah = Command::new("buildah");
        for (option, name) in [("--root", "images"), ("--runroot", "run")] {
            buildah.arg(option).arg(self.place.join(name));
        }
        buildah.arg(command);
        buildah
    }

    /// A container of an image; its name.
    fn container(&self, image: &str) -> Result<String> {
        let name = shell::capture(self.buildah("from").args(["--pull-never", image]))?;
        Ok(name.trim().to_owned())
    }

    /// Where the files of a container lie.
    fn mounted(&self, container: &str) -> Result<PathBuf> {
        let place = shell::capture(self.buildah("mount").arg(container))?;
        Ok(place.trim().into())
    }

    /// A whole system as an image, with the owners of its files.
    pub fn import(&self, root: &Path, image: &str) -> Result<()> {
        let container = self.container("scratch")?;
        shell::capture(
            Command::new("cp")
                .arg("--archive")
                .arg(root.join("."))
                .arg(self.mounted(&container)?),
        )?;
        shell::capture(
            self.buildah("commit")
                .args(["--quiet", "--rm", &container, image]),
        )?;
        Ok(())
    }

    /// By that file of packaging/.
    pub fn build(&self, file: &str, base: &str, major: u32, image: &str) -> Result<()> {
        let root = &self.workspace.shared.root;
        shell::capture(
            self.buildah("build")
                .arg("--pull-never")
                .args(["--isolation", "chroot", "--network", "host", "--file"])
                .arg(root.join("packaging").join(file))
                .args(["--build-arg", &format!("BASE={base}")])
                .args(["--build-arg", &format!("MAJOR={major}")])
                .args(["--tag", image])
                .arg(root),
        )?;
        Ok(())
    }

    /// packaging/try in an image that has the package.
    pub fn try_in(&self, image: &str, major: u32) -> Result<String> {
        let container = self.container(image)?;
        let packaging = self.workspace.shared.root.join("packaging");
        for name in ["try", "ranking.sql"] {
            shell::capture(
                self.buildah("copy")
                    .args(["--quiet", &container])
                    .arg(packaging.join(name))
                    .arg(format!("/tmp/{name}")),
            )?;
        }
        let major = major.to_string();
        let run = [
            "--isolation",
            "chroot",
            &container,
            "sh",
            "/tmp/try",
            &major,
        ];
        shell::capture(self.buildah("run").args(run))
    }

    /// What CloudNativePG mounts is there, and nothing else.
    pub fn check_volume(&self, image: &str) -> Result<()> {
        let container = self.container(image)?;
        let root = self.mounted(&container)?;
        for path in [
            "lib/pg_ltv.so",
            "lib/pg_ltv/libonnxruntime.so",
            "share/extension/pg_ltv.control",
            "licenses/LICENSE",
            "licenses/LICENSE-crates.txt",
        ] {
            ensure!(root.join(path).is_file(), "the volume has no {path}");
        }
        let mut names: Vec<String> = fs::read_dir(&root)
            .context("cannot read the volume")?
            .flatten()
            .map(|entry| files::stem(&entry.path()))
            .collect();
        names.sort();
        ensure!(
            names == ["lib", "licenses", "share"],
            "the volume has {names:?}"
        );
        Ok(())
    }
}

impl Drop for Images<'_> {
    fn drop(&mut self) {
        // The workspace is swept as far as that goes.
        let _ = shell::capture(self.buildah("rm").arg("--all"));
    }
}

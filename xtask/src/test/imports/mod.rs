//! `rust/imports`: modules need each other one way.
//!
//! Two rules, read off the `use` items and the paths of every crate; code for tests is left out.
//!
//! 1. Files and folders that stand side by side form no circle. What a file takes from the `mod.rs` of its own folder does
//!    not count: there stands what the folder shares.
//! 2. In `src/` an arrow points down the [`FLOORS`] only.

mod reader;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use proc_macro2::TokenStream;
use reader::{Module, Name, Reader};

use crate::project::Project;

const CRATES: &[&str] = &[
    "src",
    "crates/ltv-core/src",
    "crates/ltv-cuda/src",
    "xtask/src",
];

/// The rooms of `src/`, the upper floors first. Rooms of one floor do not know each other. What is not named here is the ground, and
/// uses none of them.
const FLOORS: &[&[&str]] = &[
    &["batch_scan"],
    &["api"],
    &["catalog", "worker"],
    &["scoring"],
    &["value"],
];

pub fn check(project: &Project) -> Result<()> {
    let mut wrong = Vec::new();
    for source in CRATES {
        let modules = Modules::read(&project.root, source)?;
        let arrows = modules.arrows();
        wrong.extend(circles(&arrows));
        if *source == "src" {
            wrong.extend(upward(&arrows));
        }
    }
    if !wrong.is_empty() {
        bail!(
            "{}\n\nMove what both sides need into a file of its own, or hand it in as an argument.",
            wrong.join("\n\n")
        );
    }
    Ok(())
}

/// A module that uses another one, and where.
#[derive(Clone, Debug)]
struct Arrow {
    from: Name,
    to: Name,
    place: String,
}

impl Arrow {
    fn describe(&self) -> String {
        format!(
            "    {} -> {}    {}",
            self.from.join("::"),
            self.to.join("::"),
            self.place
        )
    }
}

#[derive(Default)]
struct Modules(BTreeMap<Name, Module>);

impl Modules {
    fn read(root: &Path, source: &str) -> Result<Self> {
        let mut files = Vec::new();
        collect(&root.join(source), &mut files)?;
        let mut modules = Self::default();
        for file in &files {
            let inside = file.strip_prefix(root.join(source))?;
            modules.0.insert(name_of(inside), Module::default());
        }
        for file in files {
            let inside = file.strip_prefix(root.join(source))?;
            let text = fs::read_to_string(&file)?;
            let tokens: TokenStream = text
                .parse()
                .map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))?;
            let name = name_of(inside);
            let mut found = Module {
                file: format!("{source}/{}", inside.display()),
                ..Module::default()
            };
            let is_module = |name: &[String]| modules.0.contains_key(name);
            Reader::new(&is_module, name.clone(), &mut found).read(tokens);
            modules.0.insert(name, found);
        }
        Ok(modules)
    }

    fn arrows(&self) -> Vec<Arrow> {
        let mut arrows = Vec::new();
        for (from, module) in &self.0 {
            for path in &module.paths {
                let to = self.home(&path.names, 8);
                if to != *from {
                    arrows.push(Arrow {
                        from: from.clone(),
                        to,
                        place: format!("{}:{}", module.file, path.line),
                    });
                }
            }
        }
        arrows
    }

    /// The module that a path leads to, through names that are passed on.
    fn home(&self, path: &[String], depth: usize) -> Name {
        let mut length = 0;
        while length < path.len() && self.0.contains_key(&path[..=length]) {
            length += 1;
        }
        let (module, rest) = path.split_at(length);
        let passed_on = rest.first().zip(self.0.get(module));
        match passed_on.and_then(|(name, module)| module.exports.get(name)) {
            Some(other) if depth > 0 => self.home(other, depth - 1),
            _ => module.to_vec(),
        }
    }
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// `a/b.rs` and `a/b/mod.rs` are both module `a::b`.
fn name_of(file: &Path) -> Name {
    let mut names: Name = file
        .with_extension("")
        .iter()
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    let last = names.last().map(String::as_str);
    let is_root = names.len() == 1 && matches!(last, Some("lib" | "main"));
    if last == Some("mod") || is_root {
        names.pop();
    }
    names
}

/// A description of one circle for each folder that has any.
fn circles(arrows: &[Arrow]) -> Vec<String> {
    // Per folder the arrows between what stands in it, one of each.
    let mut folders: BTreeMap<&[String], BTreeMap<&str, BTreeMap<&str, &Arrow>>> = BTreeMap::new();
    for arrow in arrows {
        let pairs = arrow.from.iter().zip(&arrow.to);
        let common = pairs.take_while(|(a, b)| a == b).count();
        if let (Some(from), Some(to)) = (arrow.from.get(common), arrow.to.get(common)) {
            let folder = folders.entry(&arrow.from[..common]).or_default();
            folder.entry(from).or_default().entry(to).or_insert(arrow);
        }
    }
    let describe = |arrows: Vec<&Arrow>| {
        let lines: Vec<String> = arrows.into_iter().map(Arrow::describe).collect();
        format!("a circle of modules:\n{}", lines.join("\n"))
    };
    folders.values().filter_map(circle).map(describe).collect()
}

/// The shortest way from a name back to itself.
fn circle<'a>(uses: &BTreeMap<&'a str, BTreeMap<&'a str, &'a Arrow>>) -> Option<Vec<&'a Arrow>> {
    let way_home = |start: &'a str| {
        let mut ways = vec![(start, Vec::new())];
        let mut seen = BTreeSet::new();
        let mut next = 0;
        while let Some((at, way)) = ways.get(next).cloned() {
            next += 1;
            for (&to, &arrow) in uses.get(at).into_iter().flatten() {
                let way: Vec<&Arrow> = way.iter().copied().chain([arrow]).collect();
                if to == start {
                    return Some(way);
                }
                if seen.insert(to) {
                    ways.push((to, way));
                }
            }
        }
        None
    };
    uses.keys()
        .filter_map(|start| way_home(start))
        .min_by_key(Vec::len)
}

/// Arrows in `src/` that do not point down.
fn upward(arrows: &[Arrow]) -> Vec<String> {
    let floor = |name: &Name| {
        let room = name.first()?;
        FLOORS
            .iter()
            .position(|rooms| rooms.contains(&room.as_str()))
    };
    let is_wrong = |arrow: &&Arrow| {
        // The root joins all rooms.
        let (Some(from), Some(to)) = (arrow.from.first(), arrow.to.first()) else {
            return false;
        };
        from != to
            && floor(&arrow.to)
                .is_some_and(|below| floor(&arrow.from).is_none_or(|above| above >= below))
    };
    let wrong: Vec<String> = arrows
        .iter()
        .filter(is_wrong)
        .map(Arrow::describe)
        .collect();
    if wrong.is_empty() {
        return Vec::new();
    }
    let floors: Vec<String> = FLOORS.iter().map(|rooms| rooms.join(", ")).collect();
    vec![format!(
        "src/ is built as {}; these arrows do not point down:\n{}",
        floors.join(" -> "),
        wrong.join("\n")
    )]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modules(files: &[(&str, &str)]) -> Result<Modules> {
        let directory =
            std::env::temp_dir().join(format!("imports.{}.{:p}", std::process::id(), files));
        for (file, text) in files {
            let path = directory.join("src").join(file);
            fs::create_dir_all(path.parent().context("no parent")?)?;
            fs::write(path, text)?;
        }
        let modules = Modules::read(&directory, "src");
        fs::remove_dir_all(&directory)?;
        modules
    }

    fn found(files: &[(&str, &str)]) -> Result<Vec<String>> {
        Ok(circles(&modules(files)?.arrows()))
    }

    #[test]
    fn one_way_is_no_circle() -> Result<()> {
        let files = [
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "use crate::b::B; struct A;"),
            (
                "b.rs",
                "pub struct B; #[cfg(test)] mod tests { use crate::a::A; }",
            ),
        ];
        assert_eq!(found(&files)?, Vec::<String>::new());
        Ok(())
    }

    #[test]
    fn a_circle_is_found_through_paths_macros_and_names_passed_on() -> Result<()> {
        let files = [
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a/mod.rs", "mod inner; pub use inner::Thing;"),
            (
                "a/inner.rs",
                "pub struct Thing; fn f() { println!(\"{}\", crate::b::X); }",
            ),
            ("b.rs", "pub const X: i32 = crate::c::Y;"),
            (
                "c.rs",
                "use super::{a::{Thing as T}, other}; pub const Y: i32 = 1;",
            ),
        ];
        let circles = found(&files)?;
        assert_eq!(circles.len(), 1);
        for line in [
            "a::inner -> b    src/a/inner.rs:1",
            "b -> c",
            "c -> a::inner    src/c.rs:1",
        ] {
            assert!(circles[0].contains(line), "{line}: {}", circles[0]);
        }
        Ok(())
    }

    #[test]
    fn a_folder_shares_what_its_own_file_has() -> Result<()> {
        let files = [
            ("lib.rs", "mod a;"),
            ("a/mod.rs", "mod x; trait Shared {} fn f() { x::g(); }"),
            ("a/x.rs", "use super::Shared; pub fn g() {}"),
        ];
        assert_eq!(found(&files)?, Vec::<String>::new());
        Ok(())
    }

    #[test]
    fn arrows_point_down() -> Result<()> {
        let files = [
            ("lib.rs", "mod api; mod scoring; mod guc;"),
            ("api.rs", "use crate::scoring::S;"),
            ("scoring.rs", "use crate::guc; pub struct S;"),
            ("guc.rs", "fn f() { crate::api::g() }"),
        ];
        let wrong = upward(&modules(&files)?.arrows());
        assert_eq!(wrong.len(), 1);
        assert!(wrong[0].contains("guc -> api"), "{}", wrong[0]);
        assert!(!wrong[0].contains("scoring -> guc"), "{}", wrong[0]);
        Ok(())
    }
}

//! `rust/lines`: no line of `sql/` is too long to be seen at once.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::files;
use crate::project::Project;

const WIDTH: usize = 120;

pub fn check(project: &Project) -> Result<()> {
    let paths = files::files(&project.root.join("sql"), "sql");
    if paths.is_empty() {
        bail!("sql/ has no .sql file");
    }
    let mut wrong = Vec::new();
    for path in paths {
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let name = path.strip_prefix(&project.root).unwrap_or(&path).display();
        for (number, width) in too_long(&text) {
            wrong.push(format!("{name}:{number}: {width} columns"));
        }
    }
    if !wrong.is_empty() {
        bail!(
            "lines longer than {WIDTH} columns; break them:\n{}",
            wrong.join("\n")
        );
    }
    Ok(())
}

/// Number, from 1, and width of each line that is too long.
fn too_long(text: &str) -> impl Iterator<Item = (usize, usize)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.chars().count()))
        .filter(|(_, width)| *width > WIDTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_as_long_as_their_characters() {
        let text = format!("{}\n{}\n{}", "é".repeat(120), "x".repeat(121), "short");
        assert_eq!(too_long(&text).collect::<Vec<_>>(), [(2, 121)]);
    }
}

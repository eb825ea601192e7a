//! A version as one file: a document in JSON and a graph, behind a header with their lengths and their SHA-256.
//!
//! Whoever made the file may have made it to do harm. So lengths are compared before anything is read, and the document is
//! read into types that know what they hold: what is let in cannot be anything else than numbers and names.

mod document;
mod named;
mod shape;

pub use document::{Document, Source};

use crate::error::{Error, ErrorKind, Result};
use sha2::{Digest, Sha256};

/// What a file begins with: line ends of both kinds, so that a transfer as text shows.
const MAGIC: &[u8; 8] = b"pg_ltv\r\n";

/// The format that is written, and the newest that is read.
const FORMAT: u32 = 1;

/// Magic, format, length of the document, length of the graph, SHA-256 of all the rest.
const HEADER: usize = 60;

/// Where the checksum lies.
const CHECKSUM: std::ops::Range<usize> = 28..60;

/// PostgreSQL has no larger values.
const LARGEST: usize = (1 << 30) - 64;

/// Bytes in memory that a byte of a document may become: small objects take the most, and those of the schema are there twice.
const EXPANSION: usize = 64;

/// The parts of a file that is whole.
pub struct Parts<'a> {
    /// JSON, in UTF-8.
    pub document: &'a str,
    /// ONNX.
    pub graph: &'a [u8],
}

/// The file with these parts.
pub fn join(document: &str, graph: &[u8]) -> Result<Vec<u8>> {
    let length = HEADER
        .saturating_add(document.len())
        .saturating_add(graph.len());
    if length > LARGEST {
        return Err(
            Error::new(ErrorKind::TooLarge, "the version is too large for a file")
                .detail(format!("It would have {length} bytes.")),
        );
    }
    let mut file = Vec::new();
    file.try_reserve_exact(length)
        .map_err(|_| out_of_memory(length))?;
    file.extend_from_slice(MAGIC);
    file.extend_from_slice(&FORMAT.to_le_bytes());
    file.extend_from_slice(&(document.len() as u64).to_le_bytes());
    file.extend_from_slice(&(graph.len() as u64).to_le_bytes());
    file.extend_from_slice(&[0; CHECKSUM.end - CHECKSUM.start]);
    file.extend_from_slice(document.as_bytes());
    file.extend_from_slice(graph);
    let checksum = checksum(&file);
    file[CHECKSUM].copy_from_slice(&checksum);
    Ok(file)
}

/// The parts of a file; an error if it is none, or not whole, or reading its document might take more than `memory` bytes.
pub fn split(file: &[u8], memory: usize) -> Result<Parts<'_>> {
    if !file.starts_with(MAGIC) {
        return Err(Error::model("not a model file")
            .detail("It does not begin as ltv_export_model makes it.")
            .hint("Pass what ltv_export_model returned; an ONNX graph goes to ltv_import_onnx."));
    }
    let [format, ..] = number::<4>(file, 8)?.map(u32::from_le_bytes);
    if format == 0 || format > FORMAT {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "the model file is of an unknown format",
        )
        .detail(format!(
            "It is of format {format}, and the newest that is known here is {FORMAT}."
        ))
        .hint("Install the version of pg_ltv here that the file was made with."));
    }
    let [document] = number::<8>(file, 12)?.map(u64::from_le_bytes);
    let [graph] = number::<8>(file, 20)?.map(u64::from_le_bytes);
    let expected = (HEADER as u64)
        .saturating_add(document)
        .saturating_add(graph);
    if expected != file.len() as u64 {
        return Err(damaged(format!(
            "It has {} bytes; by its header there should be {expected}.",
            file.len()
        )));
    }
    if checksum(file)[..] != file[CHECKSUM] {
        return Err(damaged("Its checksum is not that of its content.".into()));
    }
    let (document, graph) = file[HEADER..].split_at(document as usize);
    let needed = document.len().saturating_mul(EXPANSION);
    if needed > memory {
        return Err(
            Error::new(ErrorKind::TooLarge, "the model file is too large").detail(format!(
                "Its document has {} bytes; reading it may take {needed}, and {memory} are allowed.",
                document.len()
            ))
            .hint("Ask an administrator to raise ltv.scoring_memory."),
        );
    }
    Vec::<u8>::new()
        .try_reserve_exact(needed)
        .map_err(|_| out_of_memory(needed))?;
    let document =
        str::from_utf8(document).map_err(|_| unreadable("Its document is not in UTF-8."))?;
    Ok(Parts { document, graph })
}

/// So many bytes at a place of the header, as the only element of an array.
fn number<const N: usize>(file: &[u8], at: usize) -> Result<[[u8; N]; 1]> {
    let bytes = file.get(..HEADER).and_then(|header| header.get(at..at + N));
    let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
    bytes.map(|bytes| [bytes]).ok_or_else(|| {
        damaged(format!(
            "It has {} bytes, fewer than a header has.",
            file.len()
        ))
    })
}

fn checksum(file: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(&file[..CHECKSUM.start]);
    hash.update(&file[CHECKSUM.end..]);
    hash.finalize().into()
}

fn damaged(detail: String) -> Error {
    Error::model("the model file is damaged")
        .detail(detail)
        .hint("Export the version again, and transfer the file as bytes and not as text.")
}

fn unreadable(detail: impl Into<String>) -> Error {
    Error::model("the model file cannot be read")
        .detail(detail)
        .hint("Pass what ltv_export_model returned, as it is.")
}

fn out_of_memory(bytes: usize) -> Error {
    Error::new(ErrorKind::Resources, "out of memory")
        .detail(format!("The model file takes {bytes} bytes."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refused(file: &[u8]) -> bool {
        split(file, 1 << 20).is_err()
    }

    proptest! {
        #[test]
        fn what_was_joined_is_split(document in ".{0,200}", graph in prop::collection::vec(any::<u8>(), 0..300)) {
            let file = join(&document, &graph).map_err(|e| TestCaseError::fail(e.to_string()))?;
            let parts = split(&file, 1 << 20).map_err(|e| TestCaseError::fail(e.to_string()))?;
            prop_assert_eq!(parts.document, document);
            prop_assert_eq!(parts.graph, graph);
        }

        #[test]
        fn no_change_goes_unnoticed(at in 0_usize..90, by in 1_u8..=255, cut in 0_usize..100) {
            let file = join("{\"model\": \"m\"}", b"0123456789abcdef").unwrap_or_default();
            let mut changed = file.clone();
            let at = at % changed.len();
            changed[at] ^= by;
            prop_assert!(refused(&changed));
            prop_assert!(refused(&file[..cut.min(file.len() - 1)]));
            let mut longer = file;
            longer.push(by);
            prop_assert!(refused(&longer));
        }

        #[test]
        fn lengths_that_lie_are_refused_before_anything_is_read(document in any::<u64>(), graph in any::<u64>()) {
            let mut file = join("{}", b"graph").unwrap_or_default();
            file[12..20].copy_from_slice(&document.to_le_bytes());
            file[20..28].copy_from_slice(&graph.to_le_bytes());
            prop_assume!((document, graph) != (2, 5));
            prop_assert!(refused(&file));
        }
    }
}

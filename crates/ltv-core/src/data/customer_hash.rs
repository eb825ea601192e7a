//! Which customers: a share of them, drawn by a hash of the id, the same ones for ever and wherever it is asked.

use sha2::{Digest, Sha256};

/// From 0 to 1, evenly spread over ids: the first four bytes of the SHA-256 of salt and id in UTF-8, over 2^32. Each
/// purpose has a salt of its own, so that those who are drawn for one are no likelier to be drawn for another.
/// In SQL it is `ltv.customer_fraction`.
pub fn fraction(salt: &str, id: &str) -> f64 {
    of_hash(Sha256::new_with_prefix(salt).chain_update(id))
}

/// Where a hash lies between the least and the greatest.
pub fn of_hash(hash: Sha256) -> f64 {
    let hash = hash.finalize();
    f64::from(u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])) / 4_294_967_296.0
}

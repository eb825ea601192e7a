//! Where a customer stands between 0 and 1; those below the challenger's share are scored by it.

use sha2::{Digest, Sha256};

/// The same for a customer for ever; `ltv.customer_position` in SQL.
pub fn of_id(id: &[u8]) -> f64 {
    of_hash(Sha256::new_with_prefix(b"traffic:").chain_update(id))
}

pub fn of_hash(hash: Sha256) -> f64 {
    let hash = hash.finalize();
    f64::from(u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])) / 4_294_967_296.0
}

//! Sizes of settings, written to the byte: a text such as `2.9 MiB` would be another size. Pure.

use bytesize::ByteSize;
use serde::{Serialize, Serializer};

/// Writes the number of bytes.
pub(crate) fn serialize<S: Serializer>(
    size: &Option<ByteSize>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    size.map(|size| size.as_u64()).serialize(serializer)
}

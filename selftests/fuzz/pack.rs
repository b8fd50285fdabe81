// SPDX-License-Identifier: GPL-2.0

//! A corpus in one file: of each input its length, as 32 bits in little-endian order, and its
//! bytes.

/// The inputs of a file; none if it is not such a file.
pub fn unpack(mut file: &[u8]) -> Option<Vec<&[u8]>> {
    let mut inputs = Vec::new();
    while let Some((len, rest)) = file.split_first_chunk() {
        let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
        let (input, rest) = rest.split_at_checked(len)?;
        inputs.push(input);
        file = rest;
    }
    file.is_empty().then_some(inputs)
}

/// The file of these inputs, which are put in order, the shortest first.
pub fn pack(mut inputs: Vec<Vec<u8>>) -> Vec<u8> {
    inputs.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
    inputs.dedup();
    let mut file = Vec::new();
    for input in inputs {
        file.extend((input.len() as u32).to_le_bytes());
        file.extend(input);
    }
    file
}

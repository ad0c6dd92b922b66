//! The matrices of a model: floats, or product-quantised (Jégou et al. 2011): a row is cut into
//! parts, and each part is one of 256 centroids.
//!
//! Floats stay where they are in the file. Of a quantised matrix the centroids are read into
//! memory, and the codes stay in the file. Sums have the order of the reference.

use std::ops::Range;

use super::reader::{Fault, Reader, Result, floats};

/// The number of centroids of a part.
const CENTROIDS: usize = 256;

/// A matrix of a model.
pub(super) struct Matrix {
    pub(super) rows: usize,
    pub(super) columns: usize,
    data: Data,
}

enum Data {
    /// The place of the rows' floats in the file.
    Floats(Range<usize>),
    Codes(Codes),
}

/// A product-quantised matrix.
struct Codes {
    /// The place of the codes in the file: a byte for each part of each row.
    codes: Range<usize>,
    parts: usize,
    /// The columns of a part; the last one may have fewer.
    part: usize,
    /// The centroids of the first part, then those of the second, and so on.
    centroids: Vec<f32>,
    /// The place of a byte for each row, and the length that it stands for.
    norms: Option<(Range<usize>, Vec<f32>)>,
}

impl Matrix {
    /// Reads a matrix of floats. `what` names it in messages.
    pub(super) fn floats(reader: &mut Reader, what: &str) -> Result<Matrix> {
        let rows = reader.size(&format!("the number of rows of {what}"))?;
        let columns = reader.size(&format!("the number of columns of {what}"))?;
        let len = rows.saturating_mul(columns).saturating_mul(4);
        Ok(Matrix {
            rows,
            columns,
            data: Data::Floats(reader.take(len, what)?),
        })
    }

    /// Reads a quantised matrix. `what` names it in messages.
    pub(super) fn quantised(reader: &mut Reader, what: &str) -> Result<Matrix> {
        let has_norms = reader.flag(&format!("qnorm of {what}"))?;
        let rows = reader.size(&format!("the number of rows of {what}"))?;
        let columns = reader.size(&format!("the number of columns of {what}"))?;

        let at = reader.at();
        let len = reader.i32_in(&format!("the number of codes of {what}"), 1..i32::MAX)? as usize;
        let codes = reader.take(len, &format!("the codes of {what}"))?;
        let (parts, part, centroids) = quantiser(reader, columns, what)?;
        if parts.checked_mul(rows) != Some(len) {
            let reason =
                format!("{what} has {len} codes, expected {parts} for each of {rows} rows");
            return Err(Fault { at, reason });
        }

        let norms = match has_norms {
            true => {
                let codes = reader.take(rows, &format!("the norms of {what}"))?;
                Some((codes, quantiser(reader, 1, what)?.2))
            }
            false => None,
        };
        Ok(Matrix {
            rows,
            columns,
            data: Data::Codes(Codes {
                codes,
                parts,
                part,
                centroids,
                norms,
            }),
        })
    }

    /// Adds a row to `sum`, which has a number for each column.
    #[inline]
    pub(super) fn add_row(&self, file: &[u8], row: usize, sum: &mut [f32]) {
        match &self.data {
            Data::Floats(place) => {
                let start = place.start + row * self.columns * 4;
                let row = floats(&file[start..start + self.columns * 4]);
                for (sum, value) in sum.iter_mut().zip(row) {
                    *sum += value;
                }
            }
            Data::Codes(codes) => codes.add_row(file, row, sum),
        }
    }

    /// The dot product of a row with a vector that has a number for each column.
    pub(super) fn dot(&self, file: &[u8], row: usize, vector: &[f32]) -> f32 {
        match &self.data {
            Data::Floats(place) => {
                let start = place.start + row * self.columns * 4;
                let row = floats(&file[start..start + self.columns * 4]);
                row.zip(vector).map(|(a, b)| a * b).sum()
            }
            Data::Codes(codes) => codes.dot(file, row, vector),
        }
    }
}

impl Codes {
    /// The parts of a row in the order of their columns.
    #[inline]
    fn parts<'a>(
        &'a self,
        file: &'a [u8],
        row: usize,
        columns: usize,
    ) -> impl Iterator<Item = &'a [f32]> {
        let start = self.codes.start + row * self.parts;
        let codes = &file[start..start + self.parts];
        codes.iter().enumerate().map(move |(at, &code)| {
            let len = self.part.min(columns - at * self.part);
            let first = at * self.part * CENTROIDS + usize::from(code) * len;
            &self.centroids[first..first + len]
        })
    }

    #[inline]
    fn norm(&self, file: &[u8], row: usize) -> f32 {
        match &self.norms {
            Some((codes, lengths)) => lengths[usize::from(file[codes.start + row])],
            None => 1.0,
        }
    }

    #[inline]
    fn add_row(&self, file: &[u8], row: usize, sum: &mut [f32]) {
        let norm = self.norm(file, row);
        if self.part == 2 && sum.len().is_multiple_of(2) {
            return self.add_pairs(file, row, norm, sum);
        }

        let columns = sum.len();
        let mut sums = sum.iter_mut();
        for part in self.parts(file, row, columns) {
            for (value, sum) in part.iter().zip(&mut sums) {
                *sum += norm * value;
            }
        }
    }

    /// The same for parts of two columns, which is what the reference makes by default.
    #[inline]
    fn add_pairs(&self, file: &[u8], row: usize, norm: f32, sum: &mut [f32]) {
        let start = self.codes.start + row * self.parts;
        let codes = &file[start..start + self.parts];
        let centroids = self.centroids.as_chunks::<2>().0.as_chunks::<CENTROIDS>().0;

        let pairs = sum.as_chunks_mut::<2>().0.iter_mut();
        for ((sum, &code), centroids) in pairs.zip(codes).zip(centroids) {
            let [a, b] = centroids[usize::from(code)];
            *sum = [sum[0] + norm * a, sum[1] + norm * b];
        }
    }

    fn dot(&self, file: &[u8], row: usize, vector: &[f32]) -> f32 {
        let parts = self.parts(file, row, vector.len()).flatten();
        let dot: f32 = parts.zip(vector).map(|(a, b)| a * b).sum();
        dot * self.norm(file, row)
    }
}

/// Reads a quantiser: the number of parts, the columns of a part, and the centroids.
fn quantiser(reader: &mut Reader, columns: usize, what: &str) -> Result<(usize, usize, Vec<f32>)> {
    let at = reader.at();
    let names = ["dim", "nsubq", "dsub", "lastdsub"];
    let [dim, parts, part, last] = names.map(|name| reader.i32(name));
    let (dim, parts, part, last) = (dim?, parts?, part?, last?);

    let expected_parts = match part {
        1.. => columns.div_ceil(part as usize),
        _ => 0,
    };
    let is_whole = dim as usize == columns
        && parts >= 1
        && parts as usize == expected_parts
        && last as usize == columns - (expected_parts - 1) * part as usize;
    if !is_whole {
        let reason = format!(
            "the quantiser of {what} has {dim} columns in {parts} parts of {part}, the last of \
             {last}, which does not fit {columns} columns"
        );
        return Err(Fault { at, reason });
    }

    let what = format!("the centroids of {what}");
    let centroids = reader.floats(columns.saturating_mul(CENTROIDS), &what)?;
    Ok((parts as usize, part as usize, centroids))
}

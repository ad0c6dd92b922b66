//! Joins the segments of a record (ISO 28500, section 8): a record with `WARC-Segment-Number: 1`
//! and the `continuation` records behind it. Segments are joined only if they follow each other.
//! Other segments are damage, because a part of a page is no page.

use anyhow::Result;

use super::{Raw, Sink, WarcRecord, note, reason};
use crate::record::damage;
use crate::web::headers::Headers;

/// A record whose segments are being joined.
struct Open {
    offset: u64,
    version: String,
    headers: Headers<'static>,
    block: Vec<u8>,
    notes: Vec<&'static str>,
    /// The number of segments.
    segments: u64,
    /// The length that the last segment says.
    total: Option<u64>,
}

/// Passes the parts of a file on, with the segments joined.
pub struct Segments<'a> {
    open: Option<Open>,
    max_record: u64,
    sink: Sink<'a>,
}

impl<'a> Segments<'a> {
    /// The state at the start of a file. A joined block has at most `max_record` bytes.
    pub fn new(max_record: u64, sink: Sink<'a>) -> Segments<'a> {
        Segments {
            open: None,
            max_record,
            sink,
        }
    }

    /// Passes a part of a file on, or keeps it as a segment.
    ///
    /// # Errors
    /// If the sink fails.
    pub fn push(&mut self, raw: Raw) -> Result<()> {
        let record = match raw {
            Raw::Record(record) => record,
            Raw::Damage(_) => {
                self.finish()?;
                return (self.sink)(raw);
            }
            Raw::Padding { .. } => return (self.sink)(raw),
        };

        let number = record.headers.get("WARC-Segment-Number");
        let number = number.and_then(|number| number.parse::<u64>().ok());
        let is_continuation = record
            .headers
            .get("WARC-Type")
            .is_some_and(|kind| kind.eq_ignore_ascii_case("continuation"));
        match &mut self.open {
            Some(open) if is_continuation && open.is_next(&record, number, self.max_record) => {
                open.add(&record);
                return Ok(());
            }
            _ => self.finish()?,
        }

        if is_continuation {
            let detail = "a continuation without the segment before it";
            let length = record.block.len() as u64;
            let found = damage(
                record.offset,
                reason::SEGMENTED,
                detail,
                record.block,
                length,
            );
            return (self.sink)(Raw::Damage(found));
        }
        if number == Some(1) {
            self.open = Some(Open::new(record));
            return Ok(());
        }
        (self.sink)(Raw::Record(record))
    }

    /// Passes the joined record on, if there is one.
    ///
    /// # Errors
    /// If the sink fails.
    pub fn finish(&mut self) -> Result<()> {
        let Some(open) = self.open.take() else {
            return Ok(());
        };
        let length = open.block.len() as u64;
        let is_whole = open.total.is_none_or(|total| total == length);
        if open.segments == 1 || !is_whole {
            let detail = match open.total {
                Some(total) => format!("{length} bytes in segments, of {total}"),
                None => "the next segment is missing".to_owned(),
            };
            let found = damage(open.offset, reason::SEGMENTED, &detail, &open.block, length);
            return (self.sink)(Raw::Damage(found.of_records(open.segments)));
        }

        let mut notes = open.notes;
        if open.total.is_none() {
            notes.push(note::NO_TOTAL);
        }
        (self.sink)(Raw::Record(WarcRecord {
            offset: open.offset,
            version: &open.version,
            headers: open.headers,
            block: &open.block,
            notes,
        }))
    }
}

impl Open {
    /// The first segment.
    fn new(record: WarcRecord) -> Open {
        Open {
            offset: record.offset,
            version: record.version.to_owned(),
            block: record.block.to_vec(),
            notes: record.notes,
            headers: record.headers.into_owned(),
            segments: 1,
            total: None,
        }
    }

    /// True if a continuation is the next segment.
    fn is_next(&self, record: &WarcRecord, number: Option<u64>, max_record: u64) -> bool {
        let origin = record.headers.get("WARC-Segment-Origin-ID");
        let length = (self.block.len() + record.block.len()) as u64;
        number == Some(self.segments + 1)
            && self.total.is_none()
            && origin.is_some()
            && origin == self.headers.get("WARC-Record-ID")
            && length <= max_record
    }

    /// Adds the next segment.
    fn add(&mut self, record: &WarcRecord) {
        self.block.extend_from_slice(record.block);
        self.segments += 1;
        let total = record.headers.get("WARC-Segment-Total-Length");
        self.total = total.and_then(|total| total.parse().ok());
        for word in &record.notes {
            if !self.notes.contains(word) {
                self.notes.push(word);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::web::cases::{block, gzip, parts, record, with_lines};

    /// A segment of page 1. The id is that of the first segment.
    fn segment(number: usize, id: &str, block: &[u8], total: Option<usize>) -> Vec<u8> {
        let number_line = format!("WARC-Segment-Number: {number}");
        let length = format!("Content-Length: {}", block.len());
        let total = total.map(|total| format!("WARC-Segment-Total-Length: {total}"));
        let (kind, name) = match number {
            1 => ("response", "WARC-Record-ID"),
            _ => ("continuation", "WARC-Segment-Origin-ID"),
        };
        let kind = format!("WARC-Type: {kind}");
        let id = format!("{name}: {id}");
        let mut lines = vec!["WARC/1.0", &kind, &number_line, &id, &length];
        lines.extend(total.as_deref());
        with_lines(&lines, block)
    }

    #[test]
    fn segments_that_follow_each_other_are_joined() {
        let whole = block(1);
        let [first, second, third] = [&whole[..40], &whole[40..90], &whole[90..]];
        let total = Some(whole.len());
        let all = [
            segment(1, "<a>", first, None),
            segment(2, "<a>", second, None),
            segment(3, "<a>", third, total),
        ];
        assert_eq!(parts(&[&all.concat()[..], &record(2)].concat()), "1 2");
        assert_eq!(
            parts(&all.iter().flat_map(|part| gzip(part)).collect::<Vec<_>>()),
            "1"
        );

        let open = [&all[0][..], &all[1], &segment(3, "<a>", third, None)].concat();
        assert_eq!(parts(&open), "1+segments_no_total");
    }

    #[test]
    fn other_segments_are_damage() {
        let whole = block(1);
        let (first, last) = whole.split_at(40);
        let first = segment(1, "<a>", first, None);
        let total = Some(whole.len());
        let rest = segment(2, "<a>", last, total);
        assert_eq!(parts(&first), "!segmented");
        assert_eq!(parts(&rest), "!segmented");
        let parted = [&first[..], &record(2), &rest].concat();
        assert_eq!(parts(&parted), "!segmented 2 !segmented");
        let other = [&first[..], &segment(2, "<b>", last, total)].concat();
        assert_eq!(parts(&other), "!segmented !segmented");
        let wrong = [&first[..], &segment(2, "<a>", last, Some(7))].concat();
        assert_eq!(parts(&wrong), "!segmented*2");
        let gap = [&first[..], &segment(3, "<a>", last, total)].concat();
        assert_eq!(parts(&gap), "!segmented !segmented");
    }
}

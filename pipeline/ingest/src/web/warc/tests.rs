//! One fault a file, as in the table of faults that readers of WARC files met.

use std::io::{BufRead, Error, Read, Write as _};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::decode::{DICTIONARY, ZSTD};
use super::record::count;
use super::*;
use crate::web::cases::{
    LIMITS, Numbers, block, gzip, html, http, members, parts, parts_in_pieces, record, sized,
    with_lines,
};

/// The parts of a plain file whose second record is `middle`, and of the same file in gzip.
fn both(middle: &[u8]) -> (String, String) {
    let plain = [&record(1)[..], middle, &record(3)].concat();
    let compressed = [gzip(&record(1)), gzip(middle), gzip(&record(3))].concat();
    (parts(&plain), parts(&compressed))
}

/// The records 1 to 3 without compression.
fn plain() -> Vec<u8> {
    (1..=3).flat_map(record).collect()
}

#[test]
fn good_files_of_every_compression_give_their_records() {
    let zstd: Vec<u8> = (1..=3)
        .flat_map(|n| zstd::bulk::compress(&record(n), 3).expect("zstd"))
        .collect();
    for file in [plain(), members(1..=3).concat(), gzip(&plain()), zstd] {
        assert_eq!(parts(&file), "1 2 3");
        assert_eq!(parts_in_pieces(&file, 1), "1 2 3");
        assert_eq!(parts_in_pieces(&file, 7), "1 2 3");
    }
    assert_eq!(parts(b""), "");
}

#[test]
fn the_first_skippable_frame_of_zstd_is_a_dictionary() {
    let words = record(9);
    let mut encoder = zstd::bulk::Compressor::with_dictionary(3, &words).expect("zstd");
    let frames: Vec<u8> = (1..=3)
        .flat_map(|n| encoder.compress(&record(n)).expect("zstd"))
        .collect();
    let packed = zstd::bulk::compress(&words, 3).expect("zstd");
    for dictionary in [&words, &packed] {
        let length = (dictionary.len() as u32).to_le_bytes();
        let file = [DICTIONARY, &length, dictionary, &frames].concat();
        assert_eq!(parts(&file), "1 2 3");
        assert_eq!(parts(&file[..file.len() - 9]), "1 2 !truncated");
        assert_eq!(parts(&file[..20]), "!truncated");
    }
}

#[test]
fn a_truncated_file_loses_its_last_record_only() {
    let file = members(1..=3).concat();
    assert_eq!(parts(&file[..file.len() - 50]), "1 2 !truncated");
    assert_eq!(parts(&file[..file.len() - 4]), "1 2 3+gzip");
    assert_eq!(parts(&file[..file.len() - 8]), "1 2 3+gzip");
    let file = plain();
    assert_eq!(parts(&file[..file.len() - 60]), "1 2 !truncated");
    assert_eq!(parts(&file[..file.len() - 4]), "1 2 3");
    assert_eq!(parts(&file[..record(1).len() * 2 + 30]), "1 2 !truncated");
    let whole = gzip(&plain());
    let found = parts(&whole[..whole.len() - 20]);
    assert_eq!(found, "1+unchecked !truncated");
}

#[test]
fn damage_in_a_member_costs_this_member_only() {
    let [first, second, third] = &members(1..=3)[..] else {
        unreachable!("three members")
    };
    let mut flipped = second.clone();
    flipped[second.len() / 2] ^= 0x55;
    assert_eq!(
        parts(&[&first[..], &flipped, third].concat()),
        "1 !bad_gzip 3"
    );
    let mut wrong = second.clone();
    wrong[second.len() - 6] ^= 1;
    assert_eq!(
        parts(&[&first[..], &wrong, third].concat()),
        "1 !bad_gzip 3"
    );

    let cut = &second[..second.len() / 2];
    assert_eq!(parts(&[&first[..], cut, third].concat()), "1 !bad_gzip 3");
    let garbage = b"garbage bytes".repeat(5);
    assert_eq!(
        parts(&[&first[..], &garbage, second].concat()),
        "1 !garbage 2"
    );
    assert_eq!(
        parts(&[&garbage[..], first, second].concat()),
        "!garbage 1 2"
    );
    let zeros = [0; 512];
    assert_eq!(
        parts(&[&first[..], &zeros, second, &zeros].concat()),
        "1 0*512 2 0*512"
    );
    assert_eq!(parts(&zeros), "0*512");
}

#[test]
fn a_member_with_many_records_is_damaged_as_a_whole_if_its_checksum_is_wrong() {
    let mut whole = gzip(&plain());
    let at = whole.len() - 6;
    whole[at] ^= 1;
    assert_eq!(parts(&[whole, gzip(&record(4))].concat()), "!bad_gzip*3 4");
    assert_eq!(count(&plain()), 3);
}

#[test]
fn records_before_damage_in_a_long_member_are_kept_with_a_note() {
    let mut numbers = Numbers(9);
    let big = |n: usize, numbers: &mut Numbers| {
        let words: String = (0..900)
            .map(|_| format!("{} ", numbers.below(99_999)))
            .collect();
        let length = format!("Content-Length: {}", words.len());
        let name = format!("X: {n}");
        let lines = ["WARC/1.0", "WARC-Type: response", &name, &length];
        with_lines(&lines, words.as_bytes())
    };
    let many: Vec<u8> = (0..20).flat_map(|n| big(n, &mut numbers)).collect();
    // Blocks without compression have lengths, so the damage is noticed at the end of a block.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
    encoder.write_all(&many).expect("memory can be written");
    let mut member = encoder.finish().expect("memory can be written");
    member.drain(50_000..50_300);
    let found = parts(&[member, gzip(&record(2))].concat());
    let kept = found.matches("?+unchecked ").count();
    assert!(kept >= 8, "{found}");
    assert!(
        found.ends_with(" 2") && found.contains("!bad_gzip"),
        "{found}"
    );
}

#[test]
fn damage_names_its_place_and_its_length() {
    let files = members(1..=2);
    let file = [&files[0][..], b"garbage", &files[1], &files[0][..40]].concat();
    let mut places = Vec::new();
    read(&mut &file[..], &LIMITS, &mut |raw| {
        places.push(match raw {
            Raw::Damage(damage) => (damage.offset, damage.raw_bytes),
            Raw::Record(record) => (record.offset, 0),
            Raw::Padding { bytes } => (0, bytes),
        });
        Ok(())
    })
    .expect("memory can be read");
    let first = files[0].len() as u64;
    let second = first + 7;
    let third = second + files[1].len() as u64;
    assert_eq!(places, [(0, 0), (first, 7), (second, 0), (third, 40)]);
}

#[test]
fn a_wrong_length_is_corrected_by_the_next_record_or_the_end_of_the_member() {
    let length = block(2).len();
    for (wrong, note) in [
        (length - 1, "short"),
        (length - 20, "short"),
        (length + 10, "long"),
        (length + 300, "long"),
    ] {
        let expected = format!("1 2+length_{note} 3");
        let found = both(&sized(2, &wrong.to_string()));
        assert_eq!(found, (expected.clone(), expected), "{wrong}");
    }
    let spaced = sized(2, &format!("  {length}  "));
    assert_eq!(both(&spaced).0, "1 2 3");
    let last = [
        gzip(&record(1)),
        gzip(&sized(2, &(length + 10).to_string())),
    ]
    .concat();
    assert_eq!(parts(&last), "1 2+length_long");
}

#[test]
fn an_impossible_length_costs_its_record_only() {
    for (length, reason) in [
        ("-5", "bad_length"),
        ("12abc", "bad_length"),
        ("", "bad_length"),
        ("1000000000000000000", "record_too_large"),
        ("10000000000000000000000000", "bad_length"),
    ] {
        let expected = format!("1 !{reason} 3");
        assert_eq!(
            both(&sized(2, length)),
            (expected.clone(), expected),
            "{length}"
        );
    }
    let without = with_lines(&["WARC/1.0", "WARC-Type: response"], &block(2));
    assert_eq!(both(&without).0, "1 !bad_length 3");

    let length = format!("Content-Length: {}", block(2).len());
    for first in ["7", "9999", "x"] {
        let first = format!("Content-Length: {first}");
        let lines = ["WARC/1.0", "WARC-Type: response", &first, &length];
        assert_eq!(both(&with_lines(&lines, &block(2))).0, "1 2 3");
    }
}

#[test]
fn line_ends_blank_lines_marks_and_text_between_records_do_no_harm() {
    let [first, second, third] = [1, 2, 3].map(record);
    let cut = |record: &[u8]| record[..record.len() - 4].to_vec();
    let file = [cut(&first), cut(&second), third.clone()].concat();
    assert_eq!(parts(&file), "1 2 3");
    let file = [&first[..], &b"\r\n".repeat(7), &second, b"\n\n", &third].concat();
    assert_eq!(parts(&file), "1 2 3");
    let file = [&b"\xef\xbb\xbf"[..], &first, &second].concat();
    assert_eq!(parts(&file), "1 2");
    let file = [&b"some preamble\r\n\r\n"[..], &first, &second].concat();
    assert_eq!(parts(&file), "!garbage 1 2");
    let file = [&first[..], b"text between\r\n", &second].concat();
    assert_eq!(
        parts(&file),
        "1+length_short 2".replace("1+length_short", "?+length_short")
    );

    let lf = String::from_utf8(first)
        .expect("ASCII")
        .replace("\r\n", "\n");
    let lf = lf.replace(
        &block(1).len().to_string(),
        &(block(1).len() - 3).to_string(),
    );
    assert_eq!(parts(lf.repeat(2).as_bytes()), "? ?");
}

#[test]
fn unknown_versions_and_odd_header_lines_are_noted() {
    let length = format!("Content-Length: {}", block(2).len());
    let record = |version: &str, line: &str| {
        with_lines(&[version, "WARC-Type: response", line, &length], &block(2))
    };
    assert_eq!(both(&record("WARC/1.1", "X: a\r\n b\r\n\tc")).0, "1 2 3");
    assert_eq!(both(&record("WARC/2.0", "X: a")).0, "1 2+version 3");
    assert_eq!(both(&record("warc/1.0 ", "X: a")).0, "1 2+version 3");
    assert_eq!(
        both(&record("WARC/1.0", "no colon")).0,
        "1 2+header_lines 3"
    );
}

#[test]
fn a_header_that_is_too_long_costs_its_record_only() {
    let length = format!("Content-Length: {}", block(2).len());
    for lines in ["a".repeat(1_000_000), "a\r\nX: a".repeat(1000)] {
        let big = format!("X: {lines}");
        let record = with_lines(&["WARC/1.0", "WARC-Type: x", &big, &length], &block(2));
        let expected = "1 !header_too_long 3".to_owned();
        assert_eq!(both(&record), (expected.clone(), expected));
    }
}

#[test]
fn a_record_that_is_too_long_is_skipped_while_it_is_decoded() {
    let body = vec![b' '; 40 << 20];
    let length = format!("Content-Length: {}", body.len());
    let bomb = with_lines(&["WARC/1.0", "WARC-Type: response", &length], &body);
    let expected = "1 !record_too_large 3".to_owned();
    assert_eq!(both(&bomb), (expected.clone(), expected));
    let small = with_lines(
        &["WARC/1.0", "WARC-Type: response", "Content-Length: 5"],
        &body,
    );
    assert_eq!(both(&small).0, "1 !record_too_large 3");
}

#[test]
fn records_of_a_very_long_member_are_handed_out_before_its_end() {
    let many: Vec<u8> = (0..100_000).flat_map(|_| record(1)).collect();
    let mut unchecked = 0;
    let mut records = 0;
    read(&mut &gzip(&many)[..], &LIMITS, &mut |raw| {
        let Raw::Record(record) = raw else {
            panic!("a good file has only records")
        };
        assert_eq!(record.block, block(1));
        records += 1;
        unchecked += usize::from(record.notes == [note::UNCHECKED]);
        Ok(())
    })
    .expect("memory can be read");
    assert_eq!(records, 100_000);
    assert!(unchecked > 0);
}

#[test]
fn members_and_records_need_not_match() {
    let [first, second, third] = [1, 2, 3].map(record);
    let two = gzip(&[&first[..], &second].concat());
    assert_eq!(parts(&[two, gzip(&third)].concat()), "1 2 3");
    let empty = gzip(b"");
    let file = [&empty[..], &gzip(&first), &empty, &gzip(&second)].concat();
    assert_eq!(parts(&file), "1 2");
    for cut in 1..first.len() {
        let (left, right) = first.split_at(cut);
        let file = [gzip(left), empty.clone(), gzip(right), gzip(&second)].concat();
        // An end in the line ends behind the block is no part of the record.
        assert_eq!(parts(&file), "1 2", "cut at {cut}");
    }
    let thirds: Vec<u8> = first.chunks(150).flat_map(gzip).collect();
    assert_eq!(parts(&[thirds, gzip(&second)].concat()), "1 2");
}

#[test]
fn records_behind_a_damaged_part_of_a_record_are_kept() {
    let chunks: Vec<Vec<u8>> = record(1).chunks(60).map(gzip).collect();
    let after = members(2..=3).concat();
    for part in 0..chunks.len() {
        let mut bad = chunks.clone();
        let at = bad[part].len() - 6;
        bad[part][at] ^= 1;
        let found = parts(&[&bad.concat()[..], &after].concat());
        assert!(
            found.contains("!bad_gzip") && found.ends_with(" 2 3"),
            "{part}: {found}"
        );
        let is_noted = |word: &str| !word.starts_with('?') || word.contains('+');
        assert!(found.split(' ').all(is_noted), "{part}: {found}");
    }
}

#[test]
fn a_record_that_a_damaged_member_should_go_on_with_is_noted() {
    let first = record(1);
    let mut bad = gzip(&first[200..]);
    let at = bad.len() / 2;
    bad[at] ^= 0x55;
    let file = [gzip(&first[..200]), bad, gzip(&record(2))].concat();
    let found = parts(&file);
    assert!(
        found == "!bad_gzip 2" || found == "?+length_long !bad_gzip 2",
        "{found}"
    );
}

#[test]
fn the_magic_of_a_record_within_a_body_does_not_split_it() {
    let inner = b"WARC/1.0\r\nWARC-Type: response\r\n\r\n<p>text</p>";
    let body = http("", inner);
    let length = format!("Content-Length: {}", body.len());
    let record = with_lines(&["WARC/1.0", "WARC-Type: response", &length], &body);
    assert_eq!(both(&record), ("1 ? 3".to_owned(), "1 ? 3".to_owned()));
}

#[test]
fn damage_at_the_start_of_a_file_costs_its_first_record_only() {
    // The body cannot be compressed, so the next member is far.
    let mut numbers = Numbers(5);
    let body: Vec<u8> = (0..300_000).map(|_| numbers.below(256) as u8).collect();
    let length = format!("Content-Length: {}", body.len());
    let first = with_lines(&["WARC/1.0", "WARC-Type: response", &length], &body);
    for (mut file, rest) in [
        (gzip(&first), members(2..=3).concat()),
        (first, [record(2), record(3)].concat()),
    ] {
        file[0] ^= 1;
        file.extend(rest);
        assert_eq!(parts(&file), "!garbage 2 3");
    }
}

#[test]
fn magic_that_means_nothing_does_not_take_forever() {
    for magic in [
        &b"\x1f\x8b\x08\x08"[..],
        ZSTD,
        b"\x1f\x8b\x08\0\0\0\0\0\0\0\0\0\0\xff\xff",
    ] {
        let file = [&magic.repeat(50_000)[..], &gzip(&record(1))].concat();
        let found = parts(&file);
        assert!(found.starts_with('!') && found.ends_with(" 1"), "{found}");
    }
}

#[test]
fn arc_files_are_refused() {
    let arc = b"filedesc://x.arc 0.0.0.0 20140216 text/plain 75\n1 0 InternetArchive\n";
    assert_eq!(parts(arc), "!other_format");
    assert_eq!(parts(&[gzip(arc), gzip(b"x")].concat()), "!other_format");
    assert_eq!(parts(b"<html>no archive</html>"), "!garbage");
}

#[test]
fn every_prefix_of_a_file_is_conserved() {
    let (first, second) = (gzip(&record(1)), gzip(&record(2)));
    let file = [&first[..], &second].concat();
    for end in 0..file.len() {
        let found = parts(&file[..end]);
        let expected = match end {
            0 => "",
            _ if end < first.len() - 8 => "!truncated",
            _ if end < first.len() => "1+gzip",
            _ if end == first.len() => "1",
            _ if end < file.len() - 8 => "1 !truncated",
            _ => "1 2+gzip",
        };
        assert_eq!(found, expected, "{end}");
    }
    let file: Vec<u8> = [record(1), record(2)].concat();
    for end in 1..file.len() {
        let found = parts(&file[..end]);
        let is_known = found == "!truncated" || found.starts_with('1') || found == "!garbage";
        assert!(is_known, "{end}: {found}");
    }
}

#[test]
fn every_flipped_bit_is_conserved_and_gives_no_wrong_text() {
    let (first, second) = (gzip(&record(1)), gzip(&record(2)));
    let file = [&first[..], &second].concat();
    for bit in 0..file.len() * 8 {
        let mut flipped = file.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let found = parts(&flipped);
        let words: Vec<&str> = found.split(' ').collect();
        let has = |n: &str| words.contains(&n);
        assert!(
            words
                .iter()
                .all(|word| !word.starts_with('?') || word.contains('+')),
            "{found}"
        );
        let damages = words.iter().filter(|word| word.starts_with('!')).count();
        let kept = usize::from(has("1")) + usize::from(has("2"));
        assert!(kept == 2 || damages >= 1, "{bit}: {found}");
        // The other member is always kept.
        let other = if bit / 8 < first.len() { "2" } else { "1" };
        assert!(has(other), "{bit}: {found}");
    }
}

#[test]
fn random_damage_is_no_panic() {
    let mut numbers = Numbers(7);
    let zstd: Vec<u8> = (1..=3)
        .flat_map(|n| zstd::bulk::compress(&record(n), 3).expect("zstd"))
        .collect();
    let spread: Vec<u8> = plain().chunks(150).flat_map(gzip).collect();
    for file in [
        plain(),
        members(1..=3).concat(),
        gzip(&plain()),
        zstd,
        spread,
    ] {
        for _ in 0..3000 {
            let mut bad = file.clone();
            for _ in 0..=numbers.below(4) {
                let at = numbers.below(bad.len());
                match numbers.below(4) {
                    0 => bad[at] = numbers.below(256) as u8,
                    1 => bad.truncate(at.max(1)),
                    2 => drop(bad.drain(at..(at + numbers.below(60)).min(bad.len()))),
                    _ => {
                        let end = (at + numbers.below(90)).min(bad.len());
                        bad.extend_from_within(at..end);
                    }
                }
                bad.push(b'\n');
            }
            let found = parts(&bad);
            assert!(found.len() < 10_000, "{found}");
        }
    }
}

#[test]
fn a_record_in_a_member_for_each_byte_does_not_take_forever() {
    let length = 60_000;
    let lines = format!("Content-Length: {length}");
    let record = with_lines(
        &["WARC/1.0", "WARC-Type: response", &lines],
        &vec![b'a'; length],
    );
    let file: Vec<u8> = record.chunks(1).flat_map(gzip).collect();
    assert_eq!(parts(&[file, gzip(&record)].concat()), "? ?");
}

#[test]
fn members_inside_each_other_do_not_take_forever() {
    // Each member is a stored block that holds all the members behind it.
    let magic = b"\x1f\x8b\x08\0\0\0\0\0\0\0";
    let stored = b"\x00\xe0\x2e\x1f\xd1WARC/1.0\r\n";
    let file = [&magic[..], stored].concat().repeat(40_000);
    let found = parts(&file);
    assert!(found.starts_with('!'), "{}", &found[..80]);
}

/// A stream that fails after its bytes.
struct Failing<'a>(&'a [u8]);

impl Read for Failing<'_> {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        unreachable!("the reader asks for buffers")
    }
}

impl BufRead for Failing<'_> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        match self.0 {
            [] => Err(Error::other("the disk failed")),
            bytes => Ok(bytes),
        }
    }

    fn consume(&mut self, length: usize) {
        self.0 = &self.0[length..];
    }
}

#[test]
fn a_failure_of_the_disk_is_an_error_and_no_damage() {
    for file in [plain(), members(1..=3).concat()] {
        for end in [0, 5, 100, file.len() / 2, file.len() - 3, file.len()] {
            let result = read(&mut Failing(&file[..end]), &LIMITS, &mut |raw| {
                assert!(matches!(raw, Raw::Record(_)), "{raw:?}");
                Ok(())
            });
            let error = result.expect_err("the disk failed");
            assert_eq!(error.to_string(), "the disk failed");
        }
    }
}

#[test]
fn a_failure_of_the_sink_ends_the_reading() {
    let result = read(&mut &plain()[..], &LIMITS, &mut |_| {
        anyhow::bail!("no more")
    });
    assert_eq!(result.expect_err("a failure").to_string(), "no more");
    assert!(html(1).contains("Paragraph 1"));
}

//! Megatron-LM's indexed dataset. `.bin` holds the token ids of all documents without gaps. `.idx`
//! holds where each document begins and ends.
//!
//! The layout is that of `megatron/core/datasets/indexed_dataset.py` in NVIDIA/Megatron-LM (commit
//! 00caa53). The package megatron-core 0.16.1 has the same layout. All numbers are little-endian:
//!
//! | bytes of `.idx` | content |
//! |---|---|
//! | 9 | `MMIDIDX`, two zero bytes |
//! | 8 | version, 1 |
//! | 1 | type of an id: 8 is uint16, 4 is int32 |
//! | 8 | n, number of sequences |
//! | 8 | n + 1, number of document indices |
//! | 4·n | number of ids in each sequence, int32 |
//! | 8·n | offset in `.bin` at which each sequence begins, bytes, int64 |
//! | 8·(n + 1) | number of the sequence with which each document begins, int64; the last is n |
//!
//! Here a document is one sequence, and no sequence is empty: a document without ids is its end
//! token alone, or is left out if documents end without a token. Megatron finds where a document
//! ends by the end token, so no other id of a document is that of the end token. Ids are uint16 for
//! vocabularies of fewer than 65,500 entries, else int32, as in Megatron.
//!
//! A pair that a crash has torn cannot be read. An [`Index`] comes only from a `.bin` that is
//! durable, and Megatron opens no `.bin` without its `.idx`. So publish `.bin` first, and never
//! under a name that already has an `.idx`.
//!
//! A later cut is another matter. Megatron notices a cut `.idx` when it opens the file. It notices
//! a cut `.bin` only at the first document beyond the end, and with `--no-mmap-bin-files` not even
//! then: it takes whatever is in memory for the missing ids. The last pointer and length of `.idx`
//! give the size of `.bin`, which [`check`] compares.
//!
//! A part without ids gives a complete pair that Megatron cannot use, because it cannot map an empty
//! `.bin`. No blend file names such a part.
//!
//! Cost: one pass, about 170 million tokens per second including the wait for the disk (two cores
//! under load), and 4 bytes of memory per document.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use curate_scorers::tokenizer::{Tokenizer, TokenizerError};

use crate::blend::{self, interleave_json, megatron_json, megatron_text};
use crate::card::{Facts, Use};
use crate::dataset::{TokenIds, TokenizerName};
use crate::ends::{self, EndToken};
use crate::{Export, ExportFormat, Folder, FormatOptions, MixturePart, WrongOption};

const MAGIC: &[u8; 9] = b"MMIDIDX\0\0";
const VERSION: u64 = 1;
/// Size of the header of `.idx` in bytes. The lengths follow it.
const HEAD: u64 = 34;
/// Vocabularies with fewer entries than this have ids of 16 bits.
const SHORT_BELOW: u32 = 65_500;
/// Greatest number of entries of a vocabulary, so that each id fits into int32.
const VOCABULARY_MAX: u32 = 1 << 31;

/// The export format `megatron`.
pub(crate) const MEGATRON: ExportFormat = ExportFormat {
    name: "megatron",
    doc: "Token ids in Megatron-LM's .bin and .idx files, with blend files",
    has_token_ids: true,
    open: |options| Ok(Box::new(Megatron::open(options)?)),
};

/// An export as pairs of `.bin` and `.idx`.
struct Megatron {
    tokenizer: Tokenizer,
    vocabulary: u32,
    end: Option<EndToken>,
    blend: Vec<blend::BlendPart>,
    /// Number of documents in all parts.
    documents: u64,
    /// Number of documents without ids that were left out of all parts.
    left_out: u64,
    /// Rows without ids.
    without_ids: u64,
}

impl Megatron {
    /// Loads the tokenizer, and looks up the token that ends each document.
    fn open(options: &FormatOptions) -> Result<Megatron, WrongOption> {
        let wrong = |message: String| WrongOption {
            message,
            hint: None,
        };

        let tokenizer = match options.tokenizer {
            None => Tokenizer::embedded(),
            Some(path) => {
                let name = path.display().to_string();
                let bytes = ends::read(path)
                    .map_err(|reason| wrong(format!("--tokenizer {name}: {reason}")))?;
                Tokenizer::from_bytes(&name, &bytes)
            }
        };
        let tokenizer = tokenizer.map_err(|error| wrong(error.to_string()))?;

        let vocabulary = u32::try_from(tokenizer.ids())
            .ok()
            .filter(|entries| *entries <= VOCABULARY_MAX)
            .ok_or_else(|| {
                let (name, ids) = (tokenizer.name(), tokenizer.ids());
                wrong(format!(
                    "tokenizer {name} has ids up to {}, expected less than {VOCABULARY_MAX}",
                    ids.saturating_sub(1)
                ))
            })?;

        Ok(Megatron {
            end: ends::chosen(&tokenizer, options)?,
            tokenizer,
            vocabulary,
            blend: Vec::new(),
            documents: 0,
            left_out: 0,
            without_ids: 0,
        })
    }

    /// The ids of a document's text, without the end token.
    fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        match &self.end {
            Some(end) => self.tokenizer.encode_without(text, end.id),
            None => self.tokenizer.encode(text, None),
        }
    }

    /// The figures of all parts that were written.
    fn token_ids(&self) -> TokenIds {
        TokenIds {
            tokenizer: TokenizerName::of(self.tokenizer.name(), self.tokenizer.digest()),
            vocabulary: self.vocabulary,
            end_token: self.end.as_ref().map(|end| end.name.clone()),
            end_id: self.end.as_ref().map(|end| end.id),
            dtype: Width::of(self.vocabulary).name(),
            ids: self.blend.iter().map(|part| part.tokens).sum(),
            documents: self.documents,
            documents_left_out: self.left_out,
            documents_without_ids: self.without_ids,
        }
    }
}

impl Export for Megatron {
    fn part(&mut self, part: &dyn MixturePart, folder: &dyn Folder) -> Result<()> {
        let stem = part.stem();
        let (bin, idx) = (format!("{stem}.bin"), format!("{stem}.idx"));

        // `.bin` comes first, because Megatron opens no `.bin` without its `.idx`. So a new folder
        // never holds a pair that Megatron opens but that is not complete.
        let (mut index, mut without_ids) = (None, 0);
        folder.put(&bin, &mut |out| {
            let end = self.end.as_ref().map(|end| end.id);
            let mut writer = BinWriter::new(out, self.vocabulary, end)?;
            part.each_row(&mut |row| {
                let ids = self.encode(row.text)?;
                without_ids += u64::from(ids.is_empty());
                writer.document(&ids)
            })?;
            index = Some(writer.finish(|out| out.sync())?.1);
            Ok(())
        })?;
        let index = index.context("a file that was written has an index")?;
        folder.put(&idx, &mut |mut out| Ok(index.write(&mut out)?))?;

        // Megatron may not notice a `.bin` of the wrong size, so the pair is checked on disk.
        let found = check(&folder.path(&bin), &folder.path(&idx))?;
        ensure!(
            found.documents == index.documents() && found.tokens == index.tokens(),
            "{stem}: .bin and .idx do not hold the documents that were written"
        );

        self.documents += index.documents();
        self.left_out += index.left_out();
        self.without_ids += without_ids;

        // `interleave.json` is for `datasets`, which reads the part's Parquet file. That file has
        // the documents that are left out here.
        let parquet = format!("{stem}.parquet");
        let rows = index.documents() + index.left_out();
        let row = blend::BlendPart::once(stem, parquet, index.tokens(), rows);
        self.blend.push(row);
        Ok(())
    }

    fn finish(&mut self, folder: &dyn Folder, card: &mut Facts) -> Result<()> {
        card.token_ids = Some(self.token_ids());

        // Megatron cannot map an empty `.bin`, so a mixture without ids has no blend.
        if self.blend.iter().all(|row| row.tokens == 0) {
            return Ok(());
        }

        let arguments = "megatron.txt";
        let mut files = vec![
            (arguments, megatron_text(&self.blend)?),
            ("megatron.json", megatron_json(&self.blend)?),
        ];
        // `interleave.json` names Parquet files, and they have a configuration if they are there.
        if !card.configs.is_empty() {
            files.push(("interleave.json", interleave_json(&self.blend, 0)?));
        }
        for (name, text) in files {
            folder.put(name, &mut |out| Ok(out.write_all(text.as_bytes())?))?;
        }

        card.uses.push(Use {
            language: "sh",
            code: format!(
                "--data-args-path {arguments} --split 100,0,0  # Megatron-LM, run from this folder"
            ),
        });
        Ok(())
    }
}

/// The type of an id in `.bin`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// An unsigned id of 16 bits.
    U16,
    /// A signed id of 32 bits.
    I32,
}

impl Width {
    /// The type that Megatron chooses for a vocabulary of this many entries, with added tokens.
    pub fn of(vocabulary: u32) -> Width {
        if vocabulary < SHORT_BELOW {
            Width::U16
        } else {
            Width::I32
        }
    }

    /// Size of an id in bytes.
    pub fn bytes(self) -> u64 {
        match self {
            Width::U16 => 2,
            Width::I32 => 4,
        }
    }

    /// The type's name in `dataset.json`, which is NumPy's.
    fn name(self) -> &'static str {
        match self {
            Width::U16 => "uint16",
            Width::I32 => "int32",
        }
    }

    /// The number of the type in the header of `.idx`.
    fn code(self) -> u8 {
        match self {
            Width::U16 => 8,
            Width::I32 => 4,
        }
    }

    fn from_code(code: u8) -> Option<Width> {
        [Width::U16, Width::I32]
            .into_iter()
            .find(|width| width.code() == code)
    }
}

/// A writer of a `.bin`, one document after another.
#[derive(Debug)]
pub struct BinWriter<W> {
    out: W,
    vocabulary: u32,
    end: Option<u32>,
    index: Index,
    /// The bytes of a block of ids, kept for the next block.
    block: Vec<u8>,
}

impl<W: Write> BinWriter<W> {
    /// A writer for ids below `vocabulary`, the number of entries with added tokens. `end` is the
    /// id that ends each document, if any.
    ///
    /// # Errors
    /// If an id of the vocabulary does not fit into int32, or if `end` is not in the vocabulary.
    pub fn new(out: W, vocabulary: u32, end: Option<u32>) -> Result<BinWriter<W>> {
        ensure!(
            vocabulary <= VOCABULARY_MAX,
            "a vocabulary of {vocabulary} entries, expected {VOCABULARY_MAX} or fewer"
        );

        let writer = BinWriter {
            out,
            vocabulary,
            end,
            index: Index::new(Width::of(vocabulary)),
            block: Vec::new(),
        };

        writer
            .check_ids(end.as_slice())
            .context("the end of a document")?;
        Ok(writer)
    }

    /// Appends the ids of a document, and its end. A document without ids and without an end is
    /// left out and counted.
    ///
    /// # Errors
    /// If an id is not in the vocabulary, if the document has more ids than an int32 can hold, or
    /// if writing fails. Nothing of a refused document is written. After a failed write the file is
    /// unusable.
    pub fn document(&mut self, ids: &[u32]) -> Result<()> {
        // All checks come before the first byte, so a refused document leaves nothing.
        self.check_ids(ids)?;
        let length = sequence_length(ids.len() + self.end.as_slice().len())?;
        if length == 0 {
            self.index.left_out += 1;
            return Ok(());
        }

        // Ids are converted block by block, so that a long document needs no more memory.
        for block in ids.chunks(1 << 14).chain([self.end.as_slice()]) {
            self.block.clear();
            // `as u16` keeps the id: `check_ids` bounds it by a vocabulary below 65,500.
            match self.index.width {
                Width::U16 => self
                    .block
                    .extend(block.iter().flat_map(|id| (*id as u16).to_le_bytes())),
                Width::I32 => self
                    .block
                    .extend(block.iter().flat_map(|id| id.to_le_bytes())),
            }
            self.out
                .write_all(&self.block)
                .context("cannot write token ids")?;
        }

        self.index.lengths.push(length);
        self.index.tokens += u64::from(length);
        Ok(())
    }

    /// Fails for the first id that is not in the vocabulary.
    fn check_ids(&self, ids: &[u32]) -> Result<()> {
        match ids.iter().find(|id| **id >= self.vocabulary) {
            Some(id) => anyhow::bail!("token id {id}, expected less than {}", self.vocabulary),
            None => Ok(()),
        }
    }

    /// Makes the ids durable with `sync`, and only then returns the content of `.idx`. Also returns
    /// `out`, so that the caller can take its digest or size.
    ///
    /// # Errors
    /// If `sync` fails.
    pub fn finish(mut self, sync: impl FnOnce(&mut W) -> io::Result<()>) -> Result<(W, Index)> {
        sync(&mut self.out).context("cannot write token ids")?;
        Ok((self.out, self.index))
    }
}

/// The length of a sequence, checked to fit into the int32 that is written. Never negative.
fn sequence_length(n: usize) -> Result<u32> {
    ensure!(
        n <= i32::MAX as usize,
        "a document of {n} tokens, expected {} or fewer",
        i32::MAX
    );
    Ok(n as u32)
}

/// The content of an `.idx` for a `.bin` that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    width: Width,
    /// Number of ids of each document, with its end. Never 0.
    lengths: Vec<u32>,
    tokens: u64,
    left_out: u64,
}

impl Index {
    fn new(width: Width) -> Index {
        Index {
            width,
            lengths: Vec::new(),
            tokens: 0,
            left_out: 0,
        }
    }

    /// Number of documents in `.bin`.
    pub fn documents(&self) -> u64 {
        self.lengths.len() as u64
    }

    /// Number of documents that are not in `.bin`, because they have no ids and no end.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Number of all ids, ends of documents included.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// The size of `.bin` in bytes.
    #[cfg(test)]
    pub fn bin_bytes(&self) -> u64 {
        self.tokens * self.width.bytes()
    }

    /// Writes `.idx` to `out`, number by number. `out` must be buffered to be fast.
    ///
    /// # Errors
    /// If writing fails.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(MAGIC)?;
        out.write_all(&VERSION.to_le_bytes())?;
        out.write_all(&[self.width.code()])?;
        out.write_all(&self.documents().to_le_bytes())?;
        out.write_all(&(self.documents() + 1).to_le_bytes())?;

        // A length is a u32 here and an int32 in the file. `sequence_length` makes both equal.
        for length in &self.lengths {
            out.write_all(&length.to_le_bytes())?;
        }
        let mut pointer = 0u64;
        for length in &self.lengths {
            out.write_all(&pointer.to_le_bytes())?;
            pointer += u64::from(*length) * self.width.bytes();
        }

        // Each document is one sequence.
        (0..=self.documents()).try_for_each(|first| out.write_all(&first.to_le_bytes()))
    }
}

/// The numbers of documents and ids that a pair of files holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// The type of an id.
    pub width: Width,
    /// Number of documents. Each is one sequence of one id or more.
    pub documents: u64,
    /// Number of all ids, ends of documents included.
    pub tokens: u64,
}

/// Reads a whole `.idx`, compares it with the size of its `.bin`, and returns the numbers of
/// documents and ids.
///
/// # Errors
/// If a file cannot be read, or the first number that does not fit the others.
pub fn check(bin: &Path, idx: &Path) -> Result<Totals> {
    let found = size_of(bin)?;
    let totals = check_index(idx).with_context(|| format!("{} is damaged", idx.display()))?;
    let expected = totals.tokens * totals.width.bytes();
    ensure!(
        found == expected,
        "{} has {found} bytes, {} says {expected}: the two are not a pair, or one was cut",
        bin.display(),
        idx.display()
    );
    Ok(totals)
}

fn size_of(path: &Path) -> Result<u64> {
    Ok(std::fs::metadata(path)
        .with_context(|| format!("cannot read {}", path.display()))?
        .len())
}

/// Checks the numbers in an `.idx` against each other and against the size of the file.
fn check_index(idx: &Path) -> Result<Totals> {
    let size = size_of(idx)?;
    ensure!(size >= HEAD, "{size} bytes, expected {HEAD} or more");

    let mut head = reader_at(idx, 0)?;
    ensure!(
        &take::<9>(&mut head)? == MAGIC,
        "it does not begin with MMIDIDX"
    );
    let version = u64::from_le_bytes(take(&mut head)?);
    ensure!(version == VERSION, "version {version}, expected {VERSION}");
    let [code] = take(&mut head)?;
    let width =
        Width::from_code(code).with_context(|| format!("ids of type {code}, expected 8 or 4"))?;
    let sequences = u64::from_le_bytes(take(&mut head)?);
    let indices = u64::from_le_bytes(take(&mut head)?);

    // Any numbers may be in a damaged header. In 128 bits their sum cannot overflow, and after this
    // check the offsets below lie within the file.
    let expected = u128::from(HEAD) + 12 * u128::from(sequences) + 8 * u128::from(indices);
    ensure!(
        u128::from(size) == expected,
        "{size} bytes, expected {expected} for {sequences} sequences and {indices} document indices"
    );
    ensure!(
        indices == sequences + 1,
        "{indices} document indices, expected one more than {sequences} sequences"
    );

    let tokens = check_pointers(idx, width, sequences)?;
    check_documents(idx, sequences)?;
    Ok(Totals {
        width,
        documents: sequences,
        tokens,
    })
}

/// Checks that each sequence begins where the one before ends. Returns the number of all ids.
fn check_pointers(idx: &Path, width: Width, sequences: u64) -> Result<u64> {
    let mut lengths = reader_at(idx, HEAD)?;
    let mut pointers = reader_at(idx, HEAD + 4 * sequences)?;
    let mut tokens = 0u64;

    // Lengths and pointers are two arrays of the file, read side by side.
    for sequence in 0..sequences {
        let length = i32::from_le_bytes(take(&mut lengths)?);
        let pointer = i64::from_le_bytes(take(&mut pointers)?);
        let expected = tokens * width.bytes();
        ensure!(length > 0, "sequence {sequence} has {length} ids");
        ensure!(
            pointer as u64 == expected,
            "sequence {sequence} begins at {pointer}, expected {expected}"
        );
        tokens += length as u64;
    }
    Ok(tokens)
}

/// Checks that each document is one sequence, and that the last document ends with the last one.
fn check_documents(idx: &Path, sequences: u64) -> Result<()> {
    let mut documents = reader_at(idx, HEAD + 12 * sequences)?;

    for document in 0..=sequences {
        let first = u64::from_le_bytes(take(&mut documents)?);
        ensure!(
            first == document,
            "document {document} begins with sequence {first}, expected {document}"
        );
    }
    Ok(())
}

/// A buffered reader of a file, from an offset in bytes on.
fn reader_at(path: &Path, offset: u64) -> Result<BufReader<File>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    Ok(BufReader::with_capacity(1 << 16, file))
}

/// The next `N` bytes.
fn take<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn pair_of(vocabulary: u32, end: Option<u32>, documents: &[&[u32]]) -> (Vec<u8>, Vec<u8>) {
        let mut writer = BinWriter::new(Vec::new(), vocabulary, end).expect("a vocabulary");
        documents
            .iter()
            .for_each(|ids| writer.document(ids).expect("written"));
        let (bin, index) = writer.finish(|_| Ok(())).expect("durable");
        assert_eq!(index.bin_bytes(), bin.len() as u64);
        let mut idx = Vec::new();
        index.write(&mut idx).expect("written");
        (bin, idx)
    }

    fn on_disk(dir: &Path, bin: &[u8], idx: &[u8]) -> (PathBuf, PathBuf) {
        let paths = (dir.join("a.bin"), dir.join("a.idx"));
        std::fs::write(&paths.0, bin).expect("written");
        std::fs::write(&paths.1, idx).expect("written");
        paths
    }

    fn complaint(bin: &[u8], idx: &[u8]) -> String {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (bin, idx) = on_disk(dir.path(), bin, idx);
        format!(
            "{:#}",
            check(&bin, &idx).expect_err("a pair that does not fit")
        )
    }

    #[test]
    fn three_documents_spelled_out() {
        let (bin, idx) = pair_of(300, Some(299), &[&[1, 2], &[], &[258]]);
        assert_eq!(bin, [1, 0, 2, 0, 43, 1, 43, 1, 2, 1, 43, 1]);
        #[rustfmt::skip]
        let expected = [
            b'M', b'M', b'I', b'D', b'I', b'D', b'X', 0, 0,
            1, 0, 0, 0, 0, 0, 0, 0,
            8,
            3, 0, 0, 0, 0, 0, 0, 0,
            4, 0, 0, 0, 0, 0, 0, 0,
            3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0,
        ];
        assert_eq!(idx, expected);
    }

    #[test]
    fn the_width_follows_the_vocabulary() {
        assert_eq!(Width::of(65_499), Width::U16);
        assert_eq!(Width::of(65_500), Width::I32);
        let (bin, idx) = pair_of(151_936, None, &[&[151_643]]);
        assert_eq!((bin, idx[17]), (vec![0x5b, 0x50, 2, 0], 4));
        assert_eq!(pair_of(65_499, None, &[&[65_498]]).0, [0xda, 0xff]);
    }

    #[test]
    fn a_document_without_ids_is_its_end_or_is_left_out() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let documents: [&[u32]; 4] = [&[], &[1, 2], &[], &[3]];
        let totals = |documents: u64, tokens: u64| Totals {
            width: Width::U16,
            documents,
            tokens,
        };

        let (bin, idx) = pair_of(300, Some(0), &documents);
        assert_eq!(bin, [0, 0, 1, 0, 2, 0, 0, 0, 0, 0, 3, 0, 0, 0]);
        let (bin, idx) = on_disk(dir.path(), &bin, &idx);
        assert_eq!(check(&bin, &idx).expect("a pair"), totals(4, 7));

        let (bin, idx) = pair_of(300, None, &documents);
        assert_eq!(bin, [1, 0, 2, 0, 3, 0]);
        let (bin, idx) = on_disk(dir.path(), &bin, &idx);
        assert_eq!(check(&bin, &idx).expect("a pair"), totals(2, 3));

        let mut writer = BinWriter::new(Vec::new(), 300, None).expect("a vocabulary");
        documents
            .iter()
            .for_each(|ids| writer.document(ids).expect("written"));
        let (_, index) = writer.finish(|_| Ok(())).expect("durable");
        assert_eq!((index.documents(), index.left_out()), (2, 2));
    }

    #[test]
    fn an_empty_mixture_is_a_whole_pair() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (bin, idx) = pair_of(70_000, Some(0), &[]);
        assert_eq!((bin.len(), idx.len()), (0, 42));
        let (bin, idx) = on_disk(dir.path(), &bin, &idx);
        let totals = check(&bin, &idx).expect("a pair");
        assert_eq!(
            totals,
            Totals {
                width: Width::I32,
                documents: 0,
                tokens: 0
            }
        );
    }

    #[test]
    fn a_very_long_document_is_one_sequence() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let ids: Vec<u32> = (0..3_000_001).map(|n| n % 70_000).collect();
        let (bin, idx) = pair_of(70_000, Some(0), &[&ids, &[7]]);
        let read: Vec<u32> = bin
            .chunks_exact(4)
            .map(|id| u32::from_le_bytes(id.try_into().expect("four bytes")))
            .collect();
        assert_eq!(read[..ids.len()], ids);
        assert_eq!(read[ids.len()..], [0, 7, 0]);
        let (bin, idx) = on_disk(dir.path(), &bin, &idx);
        assert_eq!(check(&bin, &idx).expect("a pair").tokens, 3_000_004);
        assert_eq!(
            sequence_length(i32::MAX as usize).expect("fits"),
            i32::MAX as u32
        );
        assert!(sequence_length(i32::MAX as usize + 1).is_err());
    }

    #[test]
    fn foreign_ids_are_refused_and_leave_nothing() {
        assert!(BinWriter::new(Vec::new(), 300, Some(300)).is_err());
        let mut writer = BinWriter::new(Vec::new(), 300, Some(0)).expect("a vocabulary");
        let error = writer
            .document(&[1, 300, 2])
            .expect_err("not in the vocabulary");
        assert_eq!(error.to_string(), "token id 300, expected less than 300");
        let (bin, index) = writer.finish(|_| Ok(())).expect("durable");
        assert_eq!((bin.len(), index.documents()), (0, 0));
    }

    #[test]
    fn a_torn_pair_is_named() {
        let (bin, idx) = pair_of(300, Some(0), &[&[1, 2], &[3]]);
        assert!(complaint(&bin[..bin.len() - 2], &idx).contains("a.bin has 8 bytes"));
        assert!(complaint(&[&bin[..], &[0, 0]].concat(), &idx).contains("says 10"));
        for cut in 0..idx.len() {
            assert!(
                complaint(&bin, &idx[..cut]).contains("a.idx is damaged"),
                "cut at {cut}"
            );
        }
        let other = pair_of(300, Some(0), &[&[1, 2], &[3, 4]]).1;
        assert!(complaint(&bin, &other).contains("not a pair"));
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (bin, idx) = on_disk(dir.path(), &bin, &idx);
        std::fs::remove_file(&idx).expect("removed");
        assert!(check(&bin, &idx).is_err());
    }

    #[test]
    fn a_changed_index_is_named() {
        let (bin, idx) = pair_of(300, Some(0), &[&[1, 2], &[3]]);
        let changed = |at: usize, to: u8| {
            let mut idx = idx.clone();
            idx[at] = to;
            complaint(&bin, &idx)
        };
        assert!(changed(0, b'm').contains("MMIDIDX"));
        assert!(changed(9, 2).contains("version 2"));
        assert!(changed(17, 3).contains("ids of type 3"));
        assert!(changed(18, 3).contains("for 3 sequences"));
        assert!(changed(25, 255).contains("damaged"));
        assert!(changed(37, 128).contains("sequence 0 has"));
        assert!(changed(50, 1).contains("sequence 1 begins at"));
        assert!(changed(58, 1).contains("document 0 begins with sequence 1, expected 0"));
        assert!(changed(66, 9).contains("document 1 begins with sequence 9, expected 1"));
        assert!(changed(74, 9).contains("document 2 begins with sequence 9, expected 2"));
    }
}

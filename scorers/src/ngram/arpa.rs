//! The ARPA format: text with a section for each order, as KenLM, SRILM and others read and write
//! it.
//!
//! `\data\`, a line `ngram N=COUNT` for each order, then for each order `\N-grams:` and a line for
//! each n-gram: log₁₀ probability, words, and a log₁₀ backoff that may be missing; then `\end\`.
//! Fields are between spaces or tabs. As in KenLM, `<unk>` (or `<UNK>`) has log₁₀ p = −100 where
//! the file lacks it, `<s>` and `</s>` have to be there, and a probability above 1 is an error; an
//! n-gram whose context or suffix is missing is none here. The file is not trusted: memory grows
//! with what is read, not with what it announces.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufWriter, Read, Write};
use std::path::Path;

use crate::ngram::build::build;
use crate::ngram::model::{Model, Node, Trie, Vocabulary};
use crate::ngram::{Entry, MAX_ORDER, NgramError, SPECIAL, unk};

/// The longest line, bytes.
const LINE_BYTES_MAX: usize = 1 << 20;

/// What KenLM gives to unknown words if the file does not.
const UNK_MISSING: f32 = -100.0;

/// As they are numbered behind the vocabulary.
const SPECIAL_NAMES: [&str; SPECIAL] = ["<unk>", "<s>", "</s>"];

fn special(word: &str) -> Option<usize> {
    SPECIAL_NAMES
        .iter()
        .position(|name| *name == word)
        .or((word == "<UNK>").then_some(0))
}

/// Reads a model in ARPA form; `tokenizer` says, in the model's header, what makes its tokens.
///
/// # Errors
/// [`NgramError::Arpa`] with the line; [`NgramError::Malformed`] if an n-gram is there twice;
/// [`NgramError::TooLarge`].
pub fn read_arpa(reader: impl BufRead, tokenizer: &str) -> Result<Model, NgramError> {
    let mut lines = Lines {
        reader,
        line: Vec::new(),
        number: 0,
    };
    let counts = header(&mut lines)?;
    let (names, unigrams) = read_unigrams(&mut lines, &counts)?;
    let mut levels = vec![unigrams];
    for n in 2..=counts.len() {
        lines.expect(&format!("\\{n}-grams:"))?;
        levels.push(read_ngrams(&mut lines, &counts, n, &names)?);
    }
    lines.expect("\\end\\")?;
    let mut pieces = vec![""; names.len()];
    names
        .iter()
        .for_each(|(name, &id)| pieces[id as usize] = name);
    build(tokenizer, &pieces, levels)
}

/// The lines of a file that are not empty.
struct Lines<R> {
    reader: R,
    line: Vec<u8>,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    /// The next line and its number; `expected` is for the message if there is none.
    fn next(&mut self, expected: &str) -> Result<(u64, &str), NgramError> {
        loop {
            self.line.clear();
            self.number += 1;
            let read = self
                .reader
                .by_ref()
                .take(LINE_BYTES_MAX as u64 + 1)
                .read_until(b'\n', &mut self.line);
            match read {
                Err(e) => return Err(wrong(self.number, format!("cannot be read: {e}"))),
                Ok(0) => {
                    return Err(wrong(
                        self.number,
                        format!("the file ends, expected {expected}"),
                    ));
                }
                Ok(bytes) if bytes > LINE_BYTES_MAX => {
                    return Err(wrong(
                        self.number,
                        format!("more than {LINE_BYTES_MAX} bytes"),
                    ));
                }
                Ok(_) if self.line.trim_ascii().is_empty() => {}
                Ok(_) => break,
            }
        }
        let line = str::from_utf8(&self.line)
            .map_err(|_| wrong(self.number, "it is not UTF-8".to_owned()))?;
        Ok((self.number, line.trim_matches(is_blank)))
    }

    fn expect(&mut self, expected: &str) -> Result<(), NgramError> {
        match self.next(expected)? {
            (_, line) if line == expected => Ok(()),
            (number, line) => Err(wrong(
                number,
                format!("{}, expected {expected}", shown(line)),
            )),
        }
    }
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn wrong(line: u64, reason: String) -> NgramError {
    NgramError::Arpa { line, reason }
}

/// The start of what was found, for a message.
fn shown(found: &str) -> String {
    format!("found {:?}", &found[..found.floor_char_boundary(60)])
}

/// The counts of n-grams; the line after them begins the unigrams.
fn header(lines: &mut Lines<impl BufRead>) -> Result<Vec<u32>, NgramError> {
    lines.expect("\\data\\")?;
    let mut counts: Vec<u32> = Vec::new();
    loop {
        let n = counts.len() + 1;
        let (number, line) = lines.next("the number of n-grams")?;
        if line == "\\1-grams:" && n > 1 {
            return Ok(counts);
        }
        let count = line
            .strip_prefix("ngram ")
            .and_then(|field| field.split_once('='));
        let Some((_, count)) = count.filter(|(order, _)| order.trim().parse() == Ok(n)) else {
            return Err(wrong(
                number,
                format!("{}, expected ngram {n}=COUNT", shown(line)),
            ));
        };
        if n > MAX_ORDER {
            return Err(wrong(
                number,
                format!("{n}-grams, at most {MAX_ORDER}-grams can be read"),
            ));
        }
        let range = || {
            wrong(
                number,
                format!("{}, expected a count of at most {}", shown(count), u32::MAX),
            )
        };
        counts.push(count.trim().parse().map_err(|_| range())?);
    }
}

/// A line of an n-gram.
struct Fields<'a> {
    prob: f32,
    /// The last one first.
    words: [&'a str; MAX_ORDER],
    backoff: f32,
}

fn next_ngram<'a, R: BufRead>(
    lines: &'a mut Lines<R>,
    counts: &[u32],
    n: usize,
) -> Result<(u64, Fields<'a>), NgramError> {
    let (number, line) = lines.next("an n-gram")?;
    let expected = if n < counts.len() {
        "a probability, words and perhaps a backoff"
    } else {
        "a probability and words"
    };
    let fields = fields(line, n, n == counts.len()).ok_or_else(|| {
        let announced = counts[n - 1];
        wrong(
            number,
            format!(
                "{}, expected one of {announced} {n}-grams: {expected}",
                shown(line)
            ),
        )
    })?;
    if fields.prob > 0.0 {
        return Err(wrong(
            number,
            format!("a log-probability of {}, expected at most 0", fields.prob),
        ));
    }
    Ok((number, fields))
}

fn fields(line: &str, n: usize, is_highest: bool) -> Option<Fields<'_>> {
    let mut parts = line.split(is_blank).filter(|part| !part.is_empty());
    let number = |part: &str| part.parse::<f32>().ok().filter(|number| number.is_finite());
    let mut fields = Fields {
        prob: number(parts.next()?)?,
        words: [""; MAX_ORDER],
        backoff: 0.0,
    };
    for word in fields.words[..n].iter_mut().rev() {
        *word = parts.next()?;
    }
    if let Some(backoff) = parts.next() {
        fields.backoff = number(backoff)?;
    }
    // In the highest order a backoff has no meaning; KenLM takes a 0, and writes it for unigrams.
    let is_whole = parts.next().is_none() && !(is_highest && fields.backoff != 0.0);
    is_whole.then_some(fields)
}

/// The words, numbered as they come, and the unigrams as a model has them.
fn read_unigrams(
    lines: &mut Lines<impl BufRead>,
    counts: &[u32],
) -> Result<(HashMap<String, u32>, Vec<Entry>), NgramError> {
    let mut names = HashMap::new();
    let mut unigrams = Vec::new();
    let mut specials = [None; SPECIAL];
    for _ in 0..counts[0] {
        let (number, fields) = next_ngram(lines, counts, 1)?;
        let mut entry = Entry {
            words: [0; MAX_ORDER],
            prob: fields.prob,
            backoff: fields.backoff,
        };
        let word = fields.words[0];
        let twice = if let Some(i) = special(word) {
            specials[i].replace(entry).is_some()
        } else {
            entry.words[0] = unigrams.len() as u32;
            unigrams.push(entry);
            names.insert(word.to_owned(), entry.words[0]).is_some()
        };
        if twice {
            return Err(wrong(
                number,
                format!("{}, which is there twice", shown(word)),
            ));
        }
    }
    for (i, entry) in specials.into_iter().enumerate() {
        let missing = (i == 0).then_some(Entry {
            words: [0; MAX_ORDER],
            prob: UNK_MISSING,
            backoff: 0.0,
        });
        let Some(mut entry) = entry.or(missing) else {
            return Err(wrong(
                lines.number,
                format!("{} is not among the unigrams", SPECIAL_NAMES[i]),
            ));
        };
        entry.words[0] = unigrams.len() as u32;
        unigrams.push(entry);
    }
    Ok((names, unigrams))
}

fn read_ngrams(
    lines: &mut Lines<impl BufRead>,
    counts: &[u32],
    n: usize,
    names: &HashMap<String, u32>,
) -> Result<Vec<Entry>, NgramError> {
    let mut level = Vec::new();
    for _ in 0..counts[n - 1] {
        let (number, fields) = next_ngram(lines, counts, n)?;
        let mut entry = Entry {
            words: [0; MAX_ORDER],
            prob: fields.prob,
            backoff: fields.backoff,
        };
        for (id, word) in entry.words.iter_mut().zip(&fields.words[..n]) {
            let known = special(word)
                .map(|i| unk(names.len()) + i as u32)
                .or_else(|| names.get(*word).copied());
            *id = known.ok_or_else(|| {
                wrong(
                    number,
                    format!("{}, which is not among the unigrams", shown(word)),
                )
            })?;
        }
        level.push(entry);
    }
    Ok(level)
}

/// Writes a model in ARPA form, which KenLM reads from order 2 on; n-grams stand in the order of
/// their words, last one first.
///
/// # Errors
/// [`NgramError::Piece`] if a token's name is empty, has white space in it or is that of a special
/// one; [`NgramError::Io`]; [`NgramError::Malformed`] if the model is damaged.
pub fn write_arpa(model: &Model, path: &Path) -> Result<(), NgramError> {
    model.verify()?;
    let trie = model.trie();
    let names = names(model.vocabulary(), &trie)?;
    let file = File::create(path).map_err(NgramError::io("create", path))?;
    write_levels(&trie, &names, &mut BufWriter::new(file)).map_err(NgramError::io("write", path))
}

/// The names of all unigrams that the model has; of others an empty one.
fn names<'a>(vocabulary: Vocabulary<'a>, trie: &Trie) -> Result<Vec<&'a str>, NgramError> {
    let mut names = Vec::new();
    for id in 0..vocabulary.len() {
        let piece = vocabulary.piece(id as u32).unwrap_or_default();
        let absent = trie.levels[0].node(id).prob.is_nan();
        let is_space = |c: char| matches!(c, '\0' | '\t'..='\r' | ' ');
        if !absent && (piece.is_empty() || piece.contains(is_space) || special(piece).is_some()) {
            return Err(NgramError::Piece {
                id,
                piece: piece.to_owned(),
                reason: "cannot be a word of an ARPA file",
            });
        }
        names.push(piece);
    }
    names.extend(SPECIAL_NAMES);
    Ok(names)
}

fn write_levels(trie: &Trie, names: &[&str], out: &mut impl Write) -> std::io::Result<()> {
    writeln!(out, "\\data\\")?;
    for n in 1..=trie.order {
        let level = &trie.levels[n - 1];
        let count = (0..level.nodes)
            .filter(|&at| !level.node(at).prob.is_nan())
            .count();
        writeln!(out, "ngram {n}={count}")?;
    }
    for n in 1..=trie.order {
        writeln!(out, "\n\\{n}-grams:")?;
        walk(
            trie,
            n,
            (0, trie.levels[0].nodes),
            &mut Vec::new(),
            &mut |words, node| {
                write!(out, "{}\t", node.prob)?;
                for (i, &word) in words.iter().rev().enumerate() {
                    write!(
                        out,
                        "{}{}",
                        if i > 0 { " " } else { "" },
                        names[word as usize]
                    )?;
                }
                if n < trie.order {
                    writeln!(out, "\t{}", node.backoff)
                } else {
                    writeln!(out)
                }
            },
        )?;
    }
    writeln!(out, "\n\\end\\")?;
    out.flush()
}

type Action<'a> = dyn FnMut(&[u32], Node) -> std::io::Result<()> + 'a;

/// Every n-gram of order `n` below the nodes of a range, with its words, last one first.
fn walk(
    trie: &Trie,
    n: usize,
    range: (usize, usize),
    words: &mut Vec<u32>,
    action: &mut Action,
) -> std::io::Result<()> {
    let level = &trie.levels[words.len()];
    for at in range.0..range.1 {
        let node = level.node(at);
        words.push(node.word);
        if words.len() < n {
            walk(trie, n, node.children, words, action)?;
        } else if !node.prob.is_nan() {
            action(words, node)?;
        }
        words.pop();
    }
    Ok(())
}

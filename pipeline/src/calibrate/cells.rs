//! Cuts the pool into the buckets of a calibration: groups of (source, domain) pairs, each in bins
//! of the score, which is the uncalibrated q.

use curate_stages::mix::{Document, edges, fixed_point, ratio};

use super::usage;

/// The most sources between which CES is fitted. The smallest are joined, because with many
/// sources CES overfits.
const SOURCES: usize = 8;

/// How the pool is cut.
#[derive(Debug, Clone, Copy)]
pub struct CutConfig {
    /// Bins of each group.
    pub bins: usize,
    /// The most buckets of all groups together.
    pub most: usize,
    /// The fewest tokens of a bucket. Only a pool of a single group may have less.
    pub least_tokens: u64,
}

/// A bucket of the pool.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// A short name: source, domain where there are several, and the bin from 1.
    pub name: String,
    /// The (source, domain) pairs, as places in the pool's list of origins, ascending.
    pub origins: Vec<u32>,
    /// The number of the group, from 0.
    pub group: usize,
    /// The number of the source under CES, from 0.
    pub source: usize,
    /// The least q.
    pub from: f64,
    /// The q that the bucket stays below.
    pub to: f64,
    /// Tokens of all documents.
    pub tokens: u64,
    /// Token-weighted mean q.
    pub score: f64,
    /// The documents, as places in the pool, ascending.
    pub documents: Vec<u32>,
}

/// A group of origins that is cut into bins.
#[derive(Debug, Clone)]
struct Group {
    origins: Vec<u32>,
    tokens: u64,
    bins: usize,
}

/// Cuts a pool. `origins` are its (source, domain) pairs.
///
/// # Errors
/// Exit 2 if fewer than two buckets come out.
pub fn cut(
    pool: &[Document],
    origins: &[(String, String)],
    config: &CutConfig,
) -> anyhow::Result<Vec<Cell>> {
    let mut groups = grouped(pool, origins, config);
    share_out_bins(&mut groups, config);
    let sources = sources(&groups, origins);

    let mut group_of = vec![0; origins.len()];
    for (number, group) in groups.iter().enumerate() {
        group
            .origins
            .iter()
            .for_each(|&origin| group_of[origin as usize] = number);
    }
    let mut members: Vec<Vec<u32>> = vec![Vec::new(); groups.len()];
    for (place, document) in (0..).zip(pool) {
        members[group_of[document.origin as usize]].push(place);
    }

    let mut cells = Vec::new();
    for (number, (group, members)) in groups.iter().zip(members).enumerate() {
        let values = members
            .iter()
            .map(|&at| (pool[at as usize].score, pool[at as usize].tokens));
        let edges = edges(values.collect(), group.bins);
        let label = label(group, origins);
        for mut cell in bins(pool, &members, &edges) {
            cell.name = format!("{label} {}", cell.name);
            cell.origins.clone_from(&group.origins);
            (cell.group, cell.source) = (number, sources[number]);
            cells.push(cell);
        }
    }

    if cells.len() < 2 {
        return Err(usage(
            format!(
                "the pool gives {} bucket of at least {} tokens, expected 2 or more",
                cells.len(),
                config.least_tokens
            ),
            "a calibration compares buckets: add text, or lower --tokens",
        ));
    }
    Ok(cells)
}

/// The groups: one for each origin, or for several where one alone has too few tokens.
fn grouped(pool: &[Document], origins: &[(String, String)], config: &CutConfig) -> Vec<Group> {
    let mut tokens = vec![0u64; origins.len()];
    for document in pool {
        tokens[document.origin as usize] += document.tokens;
    }
    let mut groups: Vec<Group> = (0..)
        .zip(&tokens)
        .filter(|(_, tokens)| **tokens > 0)
        .map(|(origin, &tokens)| Group {
            origins: vec![origin],
            tokens,
            bins: 1,
        })
        .collect();

    loop {
        groups.sort_by_key(|group| (group.tokens, group.origins[0]));
        let too_small = groups
            .first()
            .is_some_and(|group| group.tokens < config.least_tokens);
        if groups.len() < 2 || !(too_small || groups.len() > config.most) {
            break;
        }

        // The smallest group of the same source, if there is one, else the smallest of all.
        let smallest = groups.remove(0);
        let source = |group: &Group| &origins[group.origins[0] as usize].0;
        let same = groups
            .iter()
            .position(|group| source(group) == source(&smallest));
        let other = &mut groups[same.unwrap_or(0)];
        other.origins.extend(smallest.origins);
        other.origins.sort_unstable();
        other.tokens += smallest.tokens;
    }

    groups.sort_by_key(|group| group.origins[0]);
    groups
}

/// Gives each group its number of bins.
fn share_out_bins(groups: &mut [Group], config: &CutConfig) {
    for group in groups.iter_mut() {
        let room = (group.tokens / config.least_tokens.max(1)) as usize;
        group.bins = room.clamp(1, config.bins);
    }

    // The group with the smallest bins gives one up, until there are few enough.
    while groups.iter().map(|group| group.bins).sum::<usize>() > config.most {
        let several = groups.iter_mut().filter(|group| group.bins > 1);
        match several.min_by_key(|group| group.tokens / group.bins as u64) {
            Some(group) => group.bins -= 1,
            None => break,
        }
    }
}

/// The number of each group's source. Sources that share a group share the number.
fn sources(groups: &[Group], origins: &[(String, String)]) -> Vec<usize> {
    // Parts: sets of groups with a source in common, as (tokens, groups).
    let mut parts: Vec<(u64, Vec<usize>)> = Vec::new();
    let source = |group: usize| {
        groups[group]
            .origins
            .iter()
            .map(|&origin| &origins[origin as usize].0)
    };
    for (number, group) in groups.iter().enumerate() {
        let (mut tokens, mut members) = (group.tokens, vec![number]);
        parts.retain(|(other_tokens, others)| {
            let shared = others
                .iter()
                .any(|&other| source(other).any(|name| source(number).any(|own| own == name)));
            if shared {
                tokens += other_tokens;
                members.extend(others);
            }
            !shared
        });
        parts.push((tokens, members));
    }

    while parts.len() > SOURCES {
        parts.sort_by(|a, b| b.cmp(a));
        let (tokens, members) = parts.pop().expect("there are more than one");
        let last = parts.last_mut().expect("there are more than one");
        last.0 += tokens;
        last.1.extend(members);
    }

    // Numbered by first group, so that equal pools have equal numbers.
    parts.sort_by_key(|(_, members)| members.iter().min().copied());
    let mut numbers = vec![0; groups.len()];
    for (number, (_, members)) in parts.iter().enumerate() {
        members.iter().for_each(|&group| numbers[group] = number);
    }
    numbers
}

/// The name of a group: its source, its domain where the source has several, and how many others
/// were joined.
fn label(group: &Group, origins: &[(String, String)]) -> String {
    let (source, domain) = &origins[group.origins[0] as usize];
    let domains = origins.iter().filter(|(other, _)| other == source).count();

    let mut label = source.clone();
    if domains > 1 {
        label += &format!("/{domain}");
    }
    if group.origins.len() > 1 {
        label += &format!("+{}", group.origins.len() - 1);
    }
    label
}

/// The bins of one group, named by number. Bins without documents are left out.
fn bins(pool: &[Document], members: &[u32], edges: &[f64]) -> Vec<Cell> {
    let mut lower: Vec<f64> = [0.0].into_iter().chain(edges.iter().copied()).collect();
    lower.dedup();

    let mut cells: Vec<Cell> = Vec::new();
    let mut weighted = vec![0u128; lower.len()];
    for (bin, &from) in lower.iter().enumerate() {
        cells.push(Cell {
            name: (bin + 1).to_string(),
            origins: Vec::new(),
            group: 0,
            source: 0,
            from,
            to: lower.get(bin + 1).copied().unwrap_or(f64::INFINITY),
            tokens: 0,
            score: 0.0,
            documents: Vec::new(),
        });
    }

    for &place in members {
        let document = &pool[place as usize];
        let bin = lower.partition_point(|from| *from <= document.score) - 1;
        weighted[bin] += u128::from(fixed_point(document.score)) * u128::from(document.tokens);
        cells[bin].tokens += document.tokens;
        cells[bin].documents.push(place);
    }
    for (cell, weighted) in cells.iter_mut().zip(weighted) {
        cell.score = ratio(weighted, u128::from(cell.tokens));
    }

    cells
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test says no")]
mod tests {
    use curate_schemas::DocId;

    use super::*;

    const CONFIG: CutConfig = CutConfig {
        bins: 3,
        most: 40,
        least_tokens: 1_000,
    };

    /// Documents of 10 tokens: `counts` of each origin, with q from 0.1 up.
    fn pool(counts: &[usize]) -> Vec<Document> {
        let mut pool = Vec::new();
        for (origin, &count) in counts.iter().enumerate() {
            pool.extend((0..count).map(|number| Document {
                doc: number as u64,
                doc_id: DocId(number as u128),
                origin: origin as u32,
                tokens: 10,
                bytes: 40,
                score: 0.1 + 0.8 * number as f64 / count as f64,
                q: 0.5,
            }));
        }
        pool
    }

    fn origins(names: &[(&str, &str)]) -> Vec<(String, String)> {
        names
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
            .collect()
    }

    #[test]
    fn groups_are_cut_into_bins_that_cover_all() {
        let origins = origins(&[("code", "py"), ("web", "cc"), ("web", "news")]);
        let pool = pool(&[300, 600, 250]);
        let cells = cut(&pool, &origins, &CONFIG).unwrap();

        let names: Vec<_> = cells.iter().map(|cell| cell.name.as_str()).collect();
        let expected = [
            "code 1",
            "code 2",
            "code 3",
            "web/cc 1",
            "web/cc 2",
            "web/cc 3",
            "web/news 1",
            "web/news 2",
        ];
        assert_eq!(names, expected);
        assert_eq!(
            cells.iter().map(|cell| cell.documents.len()).sum::<usize>(),
            pool.len()
        );
        assert_eq!(
            cells.iter().map(|cell| cell.source).collect::<Vec<_>>(),
            [0, 0, 0, 1, 1, 1, 1, 1]
        );
        for pair in cells
            .windows(2)
            .filter(|pair| pair[0].group == pair[1].group)
        {
            assert!(pair[0].to == pair[1].from && pair[0].score < pair[1].score);
        }
        assert!(cells[0].from == 0.0 && cells[2].to == f64::INFINITY);
    }

    #[test]
    fn small_groups_join_their_source_first() {
        let origins = origins(&[("a", "x"), ("b", "x"), ("b", "y"), ("c", "x")]);
        let cells = cut(&pool(&[30, 400, 50, 500]), &origins, &CONFIG).unwrap();
        let mut groups: Vec<_> = cells.iter().map(|cell| cell.origins.clone()).collect();
        groups.dedup();
        // `b/y` joins `b/x`, and `a`, whose source has nothing else, the smaller of the others.
        assert_eq!(groups, [vec![0, 1, 2], vec![3]]);
        assert!(cells.iter().all(|cell| cell.source == cell.group));
    }

    #[test]
    fn equal_scores_share_a_bucket_and_few_buckets_are_refused() {
        let mut equal = pool(&[400, 400]);
        equal.iter_mut().for_each(|document| document.score = 0.5);
        let two = origins(&[("a", "x"), ("b", "x")]);
        assert_eq!(cut(&equal, &two, &CONFIG).unwrap().len(), 2);

        let one = cut(&equal[..400], &origins(&[("a", "x")]), &CONFIG);
        assert!(one.unwrap_err().to_string().contains("1 bucket"));
        let few = CutConfig { most: 4, ..CONFIG };
        assert_eq!(cut(&pool(&[600, 600]), &two, &few).unwrap().len(), 4);
    }
}

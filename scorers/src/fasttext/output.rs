//! From the mean of a text's rows to the scores of the labels, by the loss that the model was
//! trained with. A score is ln(p + 1e-5), with the constant of the reference.

use super::matrix::Matrix;
use super::reader::Fault;

/// The output layer of a model.
pub(super) enum Output {
    /// The labels are the leaves of a Huffman tree.
    Tree(Tree),
    /// Each label for itself: one against all, or negative sampling.
    Sigmoid(Vec<f32>),
    Softmax,
}

/// A Huffman tree. The first nodes are the labels, and the last is the root.
pub(super) struct Tree {
    /// The children of each inner node, which come before their parent.
    children: Vec<[u32; 2]>,
    /// The place of each label in the order in which the reference meets the leaves.
    order: Vec<u32>,
}

/// Numbers of the losses in a model file.
const HIERARCHICAL_SOFTMAX: i32 = 1;
const SOFTMAX: i32 = 3;

/// The reference reads its sigmoid out of a table: 512 steps from -8 to 8.
const SIGMOID_STEPS: usize = 512;
const SIGMOID_MAX: f32 = 8.0;

/// The counts of tree nodes that are not made yet. Real counts are below.
const NO_COUNT: i64 = 1_000_000_000_000_000;

impl Output {
    /// The output layer for a loss, 1 to 4, and the labels' counts in training.
    ///
    /// # Errors
    /// If the counts make no tree.
    pub(super) fn new(loss: i32, counts: &[i64], at: usize) -> Result<Output, Fault> {
        match loss {
            HIERARCHICAL_SOFTMAX => Ok(Output::Tree(Tree::new(counts, at)?)),
            SOFTMAX => Ok(Output::Softmax),
            _ => Ok(Output::Sigmoid(sigmoid_table())),
        }
    }

    /// The scores of all labels. A label that the reference leaves out, below 1e-5 in a tree, has
    /// the score of negative infinity.
    pub(super) fn scores(
        &self,
        file: &[u8],
        matrix: &Matrix,
        hidden: &[f32],
        scores: &mut Vec<f32>,
    ) {
        scores.clear();
        match self {
            Output::Tree(tree) => tree.scores(file, matrix, hidden, scores),
            Output::Sigmoid(table) => {
                let values = (0..matrix.rows).map(|row| matrix.dot(file, row, hidden));
                scores.extend(values.map(|value| score(sigmoid(table, value))));
            }
            Output::Softmax => {
                scores.extend((0..matrix.rows).map(|row| matrix.dot(file, row, hidden)));
                softmax(scores);
            }
        }
    }

    /// The place of a label in the order in which the reference meets the labels.
    pub(super) fn order(&self, label: usize) -> usize {
        match self {
            Output::Tree(tree) => tree.order[label] as usize,
            _ => label,
        }
    }
}

/// ln(p + 1e-5).
fn score(p: f32) -> f32 {
    (f64::from(p) + 1e-5).ln() as f32
}

fn softmax(scores: &mut [f32]) {
    let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for value in scores.iter_mut() {
        *value = f64::from(*value - max).exp() as f32;
        sum += *value;
    }
    for value in scores.iter_mut() {
        *value = score(*value / sum);
    }
}

fn sigmoid_table() -> Vec<f32> {
    (0..=SIGMOID_STEPS)
        .map(|i| {
            let x = (2 * i) as f32 * SIGMOID_MAX / SIGMOID_STEPS as f32 - SIGMOID_MAX;
            (1.0 / (1.0 + f64::from((-x).exp()))) as f32
        })
        .collect()
}

fn sigmoid(table: &[f32], x: f32) -> f32 {
    match x {
        _ if x < -SIGMOID_MAX => 0.0,
        _ if x > SIGMOID_MAX => 1.0,
        // A number that is none ends here, at the first step.
        _ => table[((x + SIGMOID_MAX) * SIGMOID_STEPS as f32 / SIGMOID_MAX / 2.0) as usize],
    }
}

impl Tree {
    /// The tree by the method of the reference, which takes the labels as sorted by falling count.
    fn new(counts: &[i64], at: usize) -> Result<Tree, Fault> {
        let labels = counts.len();
        let mut all = counts.to_vec();
        let mut children = Vec::with_capacity(labels - 1);

        let (mut leaf, mut node) = (labels, labels);
        for _ in 1..labels {
            let mut pair = [0; 2];
            for child in &mut pair {
                let of_node = all.get(node).copied().unwrap_or(NO_COUNT);
                if leaf > 0 && all[leaf - 1] < of_node {
                    leaf -= 1;
                    *child = leaf as u32;
                } else if node < all.len() {
                    *child = node as u32;
                    node += 1;
                } else {
                    let reason = "the counts of the labels make no tree".to_owned();
                    return Err(Fault { at, reason });
                }
            }
            all.push(all[pair[0] as usize].saturating_add(all[pair[1] as usize]));
            children.push(pair);
        }
        let order = order(labels, &children);
        Ok(Tree { children, order })
    }

    /// From the root down. A branch that the reference leaves is left here as well.
    fn scores(&self, file: &[u8], matrix: &Matrix, hidden: &[f32], scores: &mut Vec<f32>) {
        let labels = self.order.len();
        let least = score(0.0);
        scores.resize(labels + self.children.len(), f32::NEG_INFINITY);
        if let Some(root) = scores.last_mut() {
            *root = 0.0;
        }

        for (inner, &[left, right]) in self.children.iter().enumerate().rev() {
            let own = scores[labels + inner];
            if own < least {
                continue;
            }
            let x = matrix.dot(file, inner, hidden);
            let f = (1.0 / f64::from(1.0 + (-x).exp())) as f32;
            scores[left as usize] = own + score((1.0 - f64::from(f)) as f32);
            scores[right as usize] = own + score(f);
        }

        scores.truncate(labels);
        for leaf in scores.iter_mut().filter(|leaf| **leaf < least) {
            *leaf = f32::NEG_INFINITY;
        }
    }
}

/// The place of each label among the leaves, the left ones first.
fn order(labels: usize, children: &[[u32; 2]]) -> Vec<u32> {
    let mut order = vec![0; labels];
    let mut next = 0;
    let mut open = vec![labels + children.len() - 1];
    while let Some(node) = open.pop() {
        match node.checked_sub(labels) {
            Some(inner) => open.extend(children[inner].iter().rev().map(|&child| child as usize)),
            None => {
                order[node] = next;
                next += 1;
            }
        }
    }
    order
}

//! Finding a cycle to show.

use std::collections::VecDeque;

use super::order::turned;

/// The shortest cycle, and among those of one length the one that begins first; its first node stands at its end again.
pub(super) fn shortest(needs: &[Vec<usize>]) -> Option<Vec<usize>> {
    let suspects = suspects(needs);
    let mut best: Option<Vec<usize>> = None;
    for start in (0..needs.len()).filter(|node| suspects[*node]) {
        let shorter = |cycle: &Vec<usize>| best.as_ref().is_none_or(|best| cycle.len() < best.len());
        if let Some(cycle) = back_to(start, needs, &suspects).filter(shorter) {
            best = Some(cycle);
        }
    }
    best
}

/// The nodes on cycles and between them: what is left when everything that is free at one of its ends is taken away.
fn suspects(needs: &[Vec<usize>]) -> Vec<bool> {
    let mut left = vec![true; needs.len()];
    let needed_by = turned(needs);
    for (edges, back) in [(needs, &needed_by[..]), (&needed_by[..], needs)] {
        let mut waits: Vec<usize> =
            edges.iter().map(|others| others.iter().filter(|other| left[**other]).count()).collect();
        let mut free: Vec<usize> = (0..edges.len()).filter(|node| left[*node] && waits[*node] == 0).collect();
        while let Some(node) = free.pop() {
            left[node] = false;
            for &other in back[node].iter().filter(|other| left[**other]) {
                waits[other] -= 1;
                if waits[other] == 0 {
                    free.push(other);
                }
            }
        }
    }
    left
}

/// The shortest way from a node along its edges back to itself.
fn back_to(start: usize, needs: &[Vec<usize>], suspects: &[bool]) -> Option<Vec<usize>> {
    let mut came_from = vec![None; needs.len()];
    let mut open = VecDeque::from([start]);
    while let Some(node) = open.pop_front() {
        for &next in needs[node].iter().filter(|next| suspects[**next]) {
            if next == start {
                let mut way = vec![start, node];
                while let Some(before) = came_from[way[way.len() - 1]] {
                    way.push(before);
                }
                way.reverse();
                return Some(way);
            }
            if came_from[next].is_none() {
                came_from[next] = Some(node);
                open.push_back(next);
            }
        }
    }
    None
}

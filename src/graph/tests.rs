//! Orders on random graphs, and the cases that have a name.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::model::samples;

fn deployment(name: &str, needs: &[&str]) -> Deployment {
    let depends_on = needs.iter().map(|need| (*need).to_owned()).collect();
    Deployment { name: name.to_owned(), depends_on, ..samples::deployment("p") }
}

fn graph(edges: &[(&str, &[&str])]) -> Result<Graph, GraphError> {
    Graph::of(&edges.iter().map(|(name, needs)| deployment(name, needs)).collect::<Vec<_>>())
}

fn set<'a>(names: &[&'a str]) -> BTreeSet<&'a str> {
    names.iter().copied().collect()
}

/// Takes everything, one at a time, each with success.
fn run(order: Order) -> Vec<usize> {
    let mut queue = Queue::new(order);
    let mut taken = Vec::new();
    while let Some(at) = queue.next_ready() {
        queue.succeeded(at);
        taken.push(at);
    }
    assert!(queue.drain().is_empty());
    taken
}

#[test]
fn the_first_of_the_ready_goes_first() {
    let graph = graph(&[("a", &["c"]), ("b", &[]), ("c", &[]), ("d", &["a", "b"])]).unwrap();
    let names = ["a", "b", "c", "d"];
    assert_eq!(run(graph.among(&names)), [1, 2, 0, 3]);
    assert_eq!(run(graph.among(&names).reversed()), [3, 0, 1, 2]);
    assert_eq!(run(Graph::default().among(&names)), [0, 1, 2, 3], "what no graph knows needs nothing");
}

#[test]
fn an_order_goes_through_what_is_not_selected() {
    let graph = graph(&[("a", &["b"]), ("b", &["c"]), ("c", &[]), ("d", &["b"])]).unwrap();
    let order = graph.among(&["a", "c", "d"]);
    assert_eq!((order.waits_for(0), order.waits_for(2), order.held_up_by(1)), (&[1][..], &[1][..], &[0, 2][..]));
    assert!(graph.among(&["a", "d"]).components().len() == 2, "one thing that both need gives them no order");
}

#[test]
fn dependencies_and_dependents_are_transitive() {
    let graph = graph(&[("a", &["b"]), ("b", &["c"]), ("c", &[]), ("d", &["b"]), ("e", &[])]).unwrap();
    assert_eq!(graph.dependencies(&set(&["a", "e"])), set(&["b", "c"]));
    assert_eq!(graph.dependents(&set(&["c", "b"])), set(&["a", "d"]));
    assert!(graph.dependents(&set(&["e", "unknown"])).is_empty());
}

#[test]
fn two_of_one_name_are_no_cycle() {
    let graph = graph(&[("a", &[]), ("a", &["a"]), ("b", &["a"])]).unwrap();
    assert_eq!(graph.dependents(&set(&["a"])), set(&["b"]));
}

#[test]
fn the_shortest_cycle_is_shown() {
    let error = |edges: &[(&str, &[&str])]| graph(edges).unwrap_err().to_string();
    assert_eq!(error(&[("a", &["a"])]), "deployments need each other: a → a");
    assert_eq!(
        error(&[("start", &["a"]), ("a", &["b"]), ("b", &["c"]), ("c", &["a", "d"]), ("d", &["c"]), ("end", &[])]),
        "deployments need each other: c → d → c"
    );
    assert_eq!(
        error(&[("c", &["d"]), ("d", &["c"]), ("a", &["b"]), ("b", &["a"])]),
        "deployments need each other: c → d → c"
    );
    assert_eq!(error(&[("a", &["x"])]), "a needs x, which is not among the discovered deployments");
}

#[test]
fn a_failure_names_what_each_one_waits_for() {
    let graph = graph(&[("a", &[]), ("b", &["a"]), ("c", &["b", "x"]), ("x", &[]), ("y", &["x"])]).unwrap();
    let mut queue = Queue::new(graph.among(&["a", "b", "c", "x", "y"]));
    assert_eq!((queue.next_ready(), queue.next_ready(), queue.next_ready()), (Some(0), Some(3), None));
    assert_eq!(queue.failed(0), [Blocked { at: 1, by: 0 }, Blocked { at: 2, by: 1 }]);
    queue.succeeded(3);
    assert_eq!((queue.next_ready(), queue.next_ready()), (Some(4), None));
    assert!(queue.failed(4).is_empty() && queue.drain().is_empty());
}

#[test]
fn groups_keep_components_whole_and_are_balanced() {
    let graph = graph(&[("a", &["b"]), ("b", &[]), ("c", &["b"]), ("d", &[]), ("e", &[]), ("f", &[])]).unwrap();
    let names = ["a", "b", "c", "d", "e", "f"];
    let order = graph.among(&names);
    assert_eq!(order.components(), [vec![0, 1, 2], vec![3], vec![4], vec![5]]);
    assert_eq!(order.groups(&names, 2), [vec![0, 1, 2], vec![3, 4, 5]]);
    assert_eq!(order.groups(&names, 9).len(), 4);
    assert!(Order::default().groups(&[], 3).is_empty());
}

/// Edges from later to earlier nodes, and then all nodes in another order.
fn dags() -> impl Strategy<Value = Vec<Deployment>> {
    (1_usize..14)
        .prop_flat_map(|size| {
            let edges = prop::collection::vec(any::<bool>(), size * size);
            (Just(size), edges, Just((0..size).collect::<Vec<_>>()).prop_shuffle())
        })
        .prop_map(|(size, edges, shuffled)| {
            let name = |node: usize| format!("n{node}");
            let of = |node: usize| {
                let needs: Vec<String> = (0..node).filter(|to| edges[node * size + to]).map(name).collect();
                deployment(&name(node), &needs.iter().map(String::as_str).collect::<Vec<_>>())
            };
            shuffled.into_iter().map(of).collect()
        })
}

/// What is needed, by the plainest of definitions.
fn reachable(deployments: &[Deployment], from: &str) -> BTreeSet<String> {
    let direct: BTreeMap<&str, &[String]> = deployments.iter().map(|d| (d.name.as_str(), &d.depends_on[..])).collect();
    let mut found: BTreeSet<String> = direct[from].iter().cloned().collect();
    loop {
        let more: BTreeSet<String> = found.iter().flat_map(|name| direct[name.as_str()].iter().cloned()).collect();
        let before = found.len();
        found.extend(more);
        if found.len() == before {
            return found;
        }
    }
}

/// A random part of a fleet.
fn parts() -> impl Strategy<Value = (Vec<Deployment>, Vec<String>)> {
    dags().prop_flat_map(|deployments| {
        let names: Vec<String> = deployments.iter().map(|d| d.name.clone()).collect();
        let count = names.len();
        (Just(deployments), prop::sample::subsequence(names, 0..=count))
    })
}

fn strs(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

proptest! {
    #[test]
    fn every_order_has_each_once_and_what_is_needed_first((deployments, selected) in parts()) {
        let graph = Graph::of(&deployments).unwrap();
        for reverse in [false, true] {
            let order = graph.among(&strs(&selected));
            let taken = run(if reverse { order.reversed() } else { order });
            prop_assert_eq!(taken.iter().copied().collect::<BTreeSet<_>>(), (0..selected.len()).collect());
            prop_assert_eq!(taken.len(), selected.len());
            let when: BTreeMap<&str, usize> =
                taken.iter().enumerate().map(|(time, at)| (selected[*at].as_str(), time)).collect();
            for name in &selected {
                for need in reachable(&deployments, name).iter().filter(|need| when.contains_key(need.as_str())) {
                    prop_assert_eq!(when[need.as_str()] < when[name.as_str()], !reverse, "{} needs {}", name, need);
                }
            }
        }
    }

    #[test]
    fn failures_take_out_exactly_what_needs_them((deployments, selected) in parts(), odds in any::<u64>()) {
        let fails = |at: usize| odds >> (at % 64) & 1 == 1;
        let graph = Graph::of(&deployments).unwrap();
        let mut queue = Queue::new(graph.among(&strs(&selected)));
        let (mut failed, mut done, mut blocked) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        while let Some(at) = queue.next_ready() {
            if fails(at) {
                failed.insert(selected[at].clone());
                for victim in queue.failed(at) {
                    prop_assert!(failed.contains(&selected[victim.by]) || blocked.contains(&selected[victim.by]));
                    prop_assert!(blocked.insert(selected[victim.at].clone()), "each once");
                }
            } else {
                done.insert(selected[at].clone());
                queue.succeeded(at);
            }
        }
        prop_assert!(queue.drain().is_empty());
        prop_assert_eq!(failed.len() + done.len() + blocked.len(), selected.len());
        for name in &selected {
            let needs_failed = reachable(&deployments, name).iter().any(|need| failed.contains(need));
            prop_assert_eq!(blocked.contains(name), needs_failed, "{}", name);
        }
    }

    #[test]
    fn shards_are_a_partition_that_the_order_of_the_list_does_not_change(
        (deployments, selected) in parts(),
        most in 1_usize..6,
    ) {
        let graph = Graph::of(&deployments).unwrap();
        let groups = |names: &[&str]| -> Vec<BTreeSet<String>> {
            let groups = graph.among(names).groups(names, most);
            groups.iter().map(|group| group.iter().map(|at| names[*at].to_owned()).collect()).collect()
        };
        let names = strs(&selected);
        let first = groups(&names);
        let mut turned = names.clone();
        turned.reverse();
        prop_assert_eq!(&first, &groups(&turned));
        prop_assert!(first.len() <= most && first.iter().all(|group| !group.is_empty()));
        prop_assert_eq!(first.iter().map(BTreeSet::len).sum::<usize>(), selected.len());
        prop_assert_eq!(first.iter().flatten().collect::<BTreeSet<_>>().len(), selected.len());
        for group in &first {
            for name in group {
                for need in reachable(&deployments, name).iter().filter(|need| names.contains(&need.as_str())) {
                    prop_assert!(group.contains(need), "{} needs {}", name, need);
                }
            }
        }
        let largest = graph.among(&names).components().iter().map(Vec::len).max().unwrap_or_default();
        if first.len() == most {
            let sizes = || first.iter().map(BTreeSet::len);
            prop_assert!(sizes().max() <= sizes().min().map(|least| least + largest), "balanced");
        }
    }

    #[test]
    fn an_edge_back_is_a_cycle_that_is_there(deployments in dags(), pick in any::<prop::sample::Index>()) {
        let mut deployments = deployments;
        let with_needs: Vec<usize> = (0..deployments.len()).filter(|at| !deployments[*at].depends_on.is_empty()).collect();
        prop_assume!(!with_needs.is_empty());
        let at = with_needs[pick.index(with_needs.len())];
        let far = reachable(&deployments, &deployments[at].name).into_iter().next_back().unwrap();
        let back = deployments[at].name.clone();
        deployments.iter_mut().find(|d| d.name == far).unwrap().depends_on.push(back);
        let Err(GraphError::Cycle { names }) = Graph::of(&deployments) else { panic!("no cycle") };
        prop_assert_eq!(names.first(), names.last());
        prop_assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len() - 1, "{:?}", names);
        for pair in names.windows(2) {
            let from = deployments.iter().find(|d| d.name == pair[0]).unwrap();
            prop_assert!(from.depends_on.contains(&pair[1]), "{:?}", names);
        }
    }
}

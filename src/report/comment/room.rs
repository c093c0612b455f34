//! Who gets how much room.

/// How much each may have of `room`, so that all together keep within it and as many as can be have all they want: the
/// longest are cut first, to one length.
pub(super) fn shares(wanted: &[usize], room: usize) -> Vec<usize> {
    let mut sorted = wanted.to_vec();
    sorted.sort_unstable();
    let mut left = room;
    let mut most = usize::MAX;
    for (at, want) in sorted.iter().enumerate() {
        let share = left / (sorted.len() - at);
        if *want > share {
            most = share;
            break;
        }
        left -= want;
    }
    wanted.iter().map(|want| (*want).min(most)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_longest_are_cut_first() {
        assert_eq!(shares(&[10, 500, 90, 400], 400), [10, 150, 90, 150]);
        assert_eq!(shares(&[10, 20], 30), [10, 20]);
        assert_eq!(shares(&[10, 20], 0), [0, 0]);
        assert_eq!(shares(&[], 5), Vec::<usize>::new());
    }

    proptest! {
        #[test]
        fn shares_fit_and_waste_little(wanted in prop::collection::vec(0_usize..1000, 0..20), room in 0_usize..5000) {
            let shares = shares(&wanted, room);
            let sum: usize = shares.iter().sum();
            prop_assert!(sum <= room || sum == 0);
            prop_assert!(sum == wanted.iter().sum::<usize>() || room - sum < wanted.len());
        }
    }
}

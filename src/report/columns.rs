//! Columns of text under a header.

/// Pads every cell to the width of its column; the header is the first row. The last column is left as it is.
pub(super) fn align<const N: usize>(header: &[&str; N], rows: &[[String; N]]) -> Vec<[String; N]> {
    let header = header.map(str::to_owned);
    let all: Vec<&[String; N]> = std::iter::once(&header).chain(rows).collect();
    let width = |column: usize| all.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; N] = std::array::from_fn(|column| if column + 1 == N { 0 } else { width(column) });
    all.into_iter().map(|row| std::array::from_fn(|column| format!("{:1$}", row[column], widths[column]))).collect()
}

/// A table for people: a header and rows, two blanks between columns.
#[must_use]
pub fn columns<const N: usize>(header: &[&str; N], rows: &[[String; N]]) -> String {
    align(header, rows).into_iter().flat_map(|row| [row.join("  ").trim_end().to_owned(), "\n".to_owned()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_stand_below_each_other() {
        let rows = [["a".to_owned(), "long cell".to_owned()], ["ünïcode".to_owned(), "x".to_owned()]];
        insta::assert_snapshot!(columns(&["ONE", "TWO"], &rows), @r"
        ONE      TWO
        a        long cell
        ünïcode  x
        ");
    }
}

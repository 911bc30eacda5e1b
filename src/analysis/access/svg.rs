//! A report as a heat map in SVG: tools down, subjects across.

use std::fmt::Write;

use crate::analysis::access::outcome::Access;
use crate::analysis::access::{AccessReport, Cell};

/// Pixels of a cell.
const CELL: (usize, usize) = (34, 18);
/// Pixels of one character of a label.
const CHARACTER: usize = 7;
/// The longest label, in characters.
const MAX_LABEL: usize = 48;
/// Pixels above the map for its title and legend.
const TOP: usize = 64;
/// Pixels around the map.
const MARGIN: usize = 16;
/// Pixels between the tools of two servers.
const GAP: usize = 10;

/// How a cell is drawn. The letter tells what the colour does, for those who do not see the difference.
struct CellPaint {
    fill: &'static str,
    ink: &'static str,
    letter: &'static str,
    legend: &'static str,
}

const ALWAYS: CellPaint = CellPaint {
    fill: "#1a7f5a",
    ink: "#ffffff",
    letter: "A",
    legend: "always",
};
const CONDITIONAL: CellPaint = CellPaint {
    fill: "#8fd3b6",
    ink: "#0b3d2a",
    letter: "c",
    legend: "under conditions",
};
const APPROVAL: CellPaint = CellPaint {
    fill: "#f2c14e",
    ink: "#4a3500",
    letter: "a",
    legend: "with an approval",
};
const NEVER: CellPaint = CellPaint {
    fill: "#eceff1",
    ink: "#b0b7bc",
    letter: "·",
    legend: "never",
};
const UNUSED: CellPaint = CellPaint {
    fill: "#d9626c",
    ink: "#ffffff",
    letter: "u",
    legend: "permitted, never used",
};

impl CellPaint {
    fn of(cell: &Cell) -> &'static Self {
        match (cell.access, cell.needs_approval, cell.is_unused()) {
            (Access::Never, ..) => &NEVER,
            (_, _, true) => &UNUSED,
            (Access::Always, ..) => &ALWAYS,
            (Access::Conditional, true, _) => &APPROVAL,
            (Access::Conditional, false, _) => &CONDITIONAL,
        }
    }
}

/// Draws a report. Every cell has a tooltip with subject, tool and access.
pub fn draw(report: &AccessReport) -> String {
    let who: Vec<String> = report
        .rows
        .iter()
        .map(|row| label(short(&row.who)))
        .collect();
    let tools: Vec<String> = report.tools.iter().map(label).collect();
    let longest = |labels: &[String]| {
        labels
            .iter()
            .map(|it| it.chars().count())
            .max()
            .unwrap_or(0)
    };
    let left = MARGIN + longest(&tools) * CHARACTER + 8;
    // Names of subjects stand at an angle of 45 degrees.
    let slanted = longest(&who) * CHARACTER * 71 / 100;
    let top = TOP + slanted + 16;
    let places = places(&report.tools, top);
    let bottom = places.last().map_or(top, |last| last + CELL.1);
    let width = (left + who.len() * CELL.0 + slanted + MARGIN).max(640);
    let height = bottom + MARGIN;
    let mut svg = String::new();
    // Writing to a `String` is infallible.
    let _ = writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" font-family=\"ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace\" font-size=\"11\" role=\"img\" aria-label=\"Who can call which tools\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>"
    );
    let _ = writeln!(
        svg,
        "<text x=\"{MARGIN}\" y=\"26\" font-size=\"15\" font-weight=\"bold\" fill=\"#1f2933\">Who can call which tools</text>"
    );
    legend(&mut svg, report);
    for (number, (name, row)) in who.iter().zip(&report.rows).enumerate() {
        let x = left + number * CELL.0;
        let (text_x, text_y) = (x + CELL.0 / 2 + 3, top - 8);
        let _ = writeln!(
            svg,
            "<text x=\"{text_x}\" y=\"{text_y}\" transform=\"rotate(-45 {text_x} {text_y})\" fill=\"#1f2933\">{name}</text>"
        );
        for (cell, y) in row.cells.iter().zip(&places) {
            draw_cell(&mut svg, &row.who, cell, (x, *y));
        }
    }
    for (tool, y) in tools.iter().zip(&places) {
        let (x, y) = (left - 8, y + CELL.1 - 5);
        let _ = writeln!(
            svg,
            "<text x=\"{x}\" y=\"{y}\" text-anchor=\"end\" fill=\"#1f2933\">{tool}</text>"
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// The top of each tool's line: servers stand apart.
fn places(tools: &[String], top: usize) -> Vec<usize> {
    let server = |tool: &str| tool.split('/').next().map(str::to_owned);
    let mut places = Vec::with_capacity(tools.len());
    let mut y = top;
    let mut previous = None;
    for tool in tools {
        let own = server(tool);
        if previous.is_some() && previous != own {
            y += GAP;
        }
        previous = own;
        places.push(y);
        y += CELL.1;
    }
    places
}

fn draw_cell(svg: &mut String, who: &str, cell: &Cell, (x, y): (usize, usize)) {
    let CellPaint {
        fill,
        ink,
        letter,
        legend,
    } = CellPaint::of(cell);
    let (width, height) = (CELL.0 - 2, CELL.1 - 2);
    let (text_x, text_y) = (x + CELL.0 / 2 - 1, y + CELL.1 - 6);
    let title = escaped(&format!(
        "{who} → {}: {legend}{}",
        cell.tool,
        for_whom(cell)
    ));
    let _ = writeln!(
        svg,
        "<g><title>{title}</title><rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"2\" fill=\"{fill}\"/><text x=\"{text_x}\" y=\"{text_y}\" text-anchor=\"middle\" font-size=\"9\" fill=\"{ink}\">{letter}</text></g>"
    );
}

/// For how many of those for whom the subject acts a tool can be called at all.
fn for_whom(cell: &Cell) -> String {
    let count = |is_meant: fn(Access) -> bool| {
        let meant = cell.cases.iter().filter(|it| is_meant(it.outcome.access()));
        meant.map(|case| case.on_behalf_of.len()).sum::<usize>()
    };
    match (count(|_| true), count(|it| it != Access::Never)) {
        (0, _) => String::new(),
        (all, some) => format!(", for {some} of {all} people"),
    }
}

fn legend(svg: &mut String, report: &AccessReport) {
    let is_used = report
        .rows
        .iter()
        .flat_map(|row| &row.cells)
        .any(Cell::is_unused);
    let paints = [&ALWAYS, &CONDITIONAL, &APPROVAL, &NEVER];
    let mut x = MARGIN;
    for paint in paints.into_iter().chain(is_used.then_some(&UNUSED)) {
        let CellPaint {
            fill,
            ink,
            letter,
            legend,
        } = paint;
        let (text_x, after) = (x + 8, x + 22);
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"38\" width=\"16\" height=\"16\" rx=\"2\" fill=\"{fill}\"/><text x=\"{text_x}\" y=\"49\" text-anchor=\"middle\" font-size=\"9\" fill=\"{ink}\">{letter}</text><text x=\"{after}\" y=\"50\" fill=\"#52606d\">{legend}</text>"
        );
        x = after + legend.len() * CHARACTER + 18;
    }
}

/// `Mcp::Agent::"support"` is `agent:support`.
pub fn short(uid: &str) -> String {
    let parts = uid
        .strip_prefix("Mcp::")
        .and_then(|rest| rest.split_once("::"));
    match parts {
        Some((ty, id)) => format!("{}:{}", ty.to_ascii_lowercase(), id.trim_matches('"')),
        None => uid.to_owned(),
    }
}

/// A name, cut if it is too long, for a text of the document.
fn label(name: impl AsRef<str>) -> String {
    let name = name.as_ref();
    if name.chars().count() <= MAX_LABEL {
        return escaped(name);
    }
    let beginning: String = name.chars().take(MAX_LABEL - 1).collect();
    escaped(&format!("{beginning}…"))
}

/// A text for XML. Characters that XML does not allow become a replacement character.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\t' | '\n' | '\r' => safe.push(' '),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
#[path = "svg_tests.rs"]
mod tests;

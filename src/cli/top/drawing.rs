//! What the terminal shows of a state.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span, Text},
    widgets::{Cell, HighlightSpacing, Paragraph, Row, Table as TableWidget, TableState},
};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::{
    picture::Picture,
    state::{Doing, Pane, State},
    table::{self, Column, Table},
};
use crate::cli::{mutex_name::written, output::shortened, printable::printable, spoken};

/// How far the tables are scrolled.
#[derive(Debug, Default)]
pub(super) struct Views {
    holds: TableState,
    waiters: TableState,
    /// How far the details can be scrolled.
    pub(super) last_detail: u16,
}

/// With fewer lines, only one of the tables is shown.
const ROOM_FOR_BOTH: u16 = 10;

const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const SELECTED: Style = Style::new().add_modifier(Modifier::REVERSED);

pub(super) fn draw(frame: &mut Frame<'_>, state: &State, views: &mut Views) {
    let width = usize::from(frame.area().width);
    let head = head(state, width);
    let foot = foot(state, width);
    let height = |text: &Vec<Line<'_>>| Constraint::Length(u16::try_from(text.len()).unwrap_or(1));
    let areas = Layout::vertical([height(&head), Constraint::Min(0), height(&foot)]);
    let [above, body, below] = areas.areas(frame.area());
    frame.render_widget(Paragraph::new(head), above);
    frame.render_widget(Paragraph::new(foot), below);
    match (&state.picture, &state.doing) {
        (None, _) => frame.render_widget(Paragraph::new("looking …"), body),
        (Some(picture), Doing::Details(from)) => {
            views.last_detail = details(frame, state, picture, *from, body);
        }
        (Some(picture), _) => tables(frame, state, picture, views, body),
    }
}

/// Which database, when, how much there is; and what is wrong.
fn head(state: &State, width: usize) -> Vec<Line<'static>> {
    let time = state.picture.as_ref().map(|picture| {
        let form = match width {
            60.. => "%Y-%m-%d %H:%M:%S UTC",
            _ => "%H:%M:%S",
        };
        picture.now.format(form).to_string()
    });
    let time = time.unwrap_or_default();
    let title = "pgmutex";
    let room = width.saturating_sub(title.len() + time.len() + 2);
    let place = shortened(&state.place, room);
    let gap = " ".repeat(room.saturating_sub(place.width()) + 1);
    let mut lines = vec![
        Line::from(vec![
            Span::styled(title, BOLD),
            Span::raw(format!(" {place}{gap}{time}")),
        ]),
        Line::raw(shortened(&counts(state).join("  "), width)),
    ];
    if let Some(lost) = &state.lost {
        let text = format!("not as of now, trying again: {lost}");
        let bad = in_colour(state, Color::Red);
        let text = wrapped(&text, width).into_iter().take(3);
        lines.extend(text.map(|line| Line::styled(line, bad)));
    }
    lines
}

/// What matters most comes first: the end may be cut.
fn counts(state: &State) -> Vec<String> {
    let mut counts = Vec::new();
    if let Some(picture) = &state.picture {
        let number = |count: usize, more: bool| format!("{count}{}", if more { "+" } else { "" });
        let holds = number(picture.holds.len(), picture.more_holds);
        let waiters = number(picture.waiters.len(), picture.more_waiters);
        counts.push(format!("{holds} held"));
        counts.push(format!("{waiters} waiting"));
    }
    if state.is_paused {
        counts.push("paused".to_owned());
    }
    if !state.filter.is_empty() {
        counts.push(format!("filter: {}", printable(&state.filter)));
    }
    if let Some(rates) = state.rates {
        counts.push(format!("+{:.1}/s -{:.1}/s", rates.began, rates.ended));
    }
    let interval = humantime::format_duration(state.interval);
    counts.push(format!("every {interval}"));
    counts
}

/// What was done, what is asked, or which keys there are.
fn foot(state: &State, width: usize) -> Vec<Line<'static>> {
    let asked = |text: String| -> Vec<Line<'static>> {
        let lines = wrapped(&text, width);
        // The end is what is being typed.
        let from = lines.len().saturating_sub(4);
        let lines = lines.into_iter().skip(from);
        lines.map(|line| Line::styled(line, BOLD)).collect()
    };
    match &state.doing {
        Doing::Filtering => asked(format!("/{}_", printable(&state.filter))),
        Doing::Reason { target, reason } => {
            let mutex = table::abridged(&written(&target.id), width);
            let reason = printable(reason);
            asked(format!(
                "take {mutex} from {}, why? (Esc: no) {reason}_",
                shortened(&target.holder, width / 2)
            ))
        }
        Doing::Confirming { target, reason } => {
            let mutex = table::abridged(&written(&target.id), width);
            let reason = shortened(&printable(reason), width);
            asked(format!(
                "take {mutex} (token {}) from {}, reason: {reason}; y/n?",
                target.token,
                shortened(&target.holder, width / 2)
            ))
        }
        Doing::Looking | Doing::Details(_) if state.message.is_some() => {
            let message = state.message.as_ref();
            let text = message.map_or("", |message| message.text.as_str());
            let colour = match message.is_some_and(|message| message.is_bad) {
                true => Color::Red,
                false => Color::Green,
            };
            let look = in_colour(state, colour);
            let lines = wrapped(text, width).into_iter().take(3);
            lines.map(|line| Line::styled(line, look)).collect()
        }
        Doing::Looking => vec![keys(
            &[
                "q end",
                "k release",
                "/ filter",
                "Enter all of it",
                "Tab other list",
                "s sort",
                "r reverse",
                "p pause",
            ],
            width,
        )],
        Doing::Details(_) => vec![keys(&["Esc back", "k release", "q end"], width)],
    }
}

/// As many as there is room for.
fn keys(keys: &[&str], width: usize) -> Line<'static> {
    let mut line = String::new();
    for key in keys {
        if line.len() + 2 + key.len() > width {
            break;
        }
        if !line.is_empty() {
            line.push_str("  ");
        }
        line.push_str(key);
    }
    Line::raw(line)
}

fn tables(frame: &mut Frame<'_>, state: &State, picture: &Picture, views: &mut Views, area: Rect) {
    let (holds_area, waiters_area) = match (area.height < ROOM_FOR_BOTH, state.focus) {
        (true, Pane::Holds) => (Some(area), None),
        (true, Pane::Waiters) => (None, Some(area)),
        (false, _) => {
            let wanted = state.shown_waiters.len().max(1) + 1;
            let most = area.height / 2;
            let wanted = u16::try_from(wanted).unwrap_or(most).min(most);
            let split = Layout::vertical([Constraint::Min(0), Constraint::Length(wanted)]);
            let [above, below] = split.areas(area);
            (Some(above), Some(below))
        }
    };
    // The first column is for the mark of what is selected.
    let width = usize::from(area.width).saturating_sub(1);
    if let Some(area) = holds_area {
        let is_focused = state.focus == Pane::Holds;
        views
            .holds
            .select(is_focused.then_some(state.selected_hold));
        let table = table::holds(state, picture, width);
        frame.render_stateful_widget(widget(table), area, &mut views.holds);
    }
    if let Some(area) = waiters_area {
        let is_focused = state.focus == Pane::Waiters;
        views
            .waiters
            .select(is_focused.then_some(state.selected_waiter));
        let table = table::waiters(state, picture, width);
        frame.render_stateful_widget(widget(table), area, &mut views.waiters);
    }
}

fn widget(table: Table) -> TableWidget<'static> {
    let Table {
        columns,
        rows,
        note,
    } = table;
    let heading = columns.iter().map(|column| column.heading.clone());
    let heading = row(heading.collect(), &columns).style(BOLD);
    let widths = columns.iter().map(|column| column.width);
    let widths = widths.map(|width| Constraint::Length(u16::try_from(width).unwrap_or(u16::MAX)));
    let widths: Vec<Constraint> = widths.collect();
    let mut rows: Vec<Row<'static>> = rows.into_iter().map(|cells| row(cells, &columns)).collect();
    rows.extend(note.map(|note| {
        let span = u16::try_from(columns.len()).unwrap_or(1);
        Row::new([Cell::from(note).column_span(span)])
    }));
    TableWidget::new(rows, widths)
        .header(heading)
        .column_spacing(u16::try_from(table::GAP).unwrap_or(1))
        .row_highlight_style(SELECTED)
        .highlight_symbol(">")
        .highlight_spacing(HighlightSpacing::Always)
}

fn row(cells: Vec<String>, columns: &[Column]) -> Row<'static> {
    let cell = |(text, column): (String, &Column)| {
        let text = match column.is_mutex {
            true => table::abridged(&text, column.width),
            false => shortened(&text, column.width),
        };
        match column.is_right {
            true => Cell::from(Text::from(text).right_aligned()),
            false => Cell::from(text),
        }
    };
    cells.into_iter().zip(columns).map(cell).collect()
}

/// All of what is selected, from a line on; gives the last one that it can begin with.
fn details(frame: &mut Frame<'_>, state: &State, picture: &Picture, from: u16, area: Rect) -> u16 {
    let fields = match state.focus {
        Pane::Holds => state.hold().map(|hold| {
            let mut fields = vec![("mutex", written(&hold.id))];
            fields.extend(spoken::hold(hold, picture.now));
            let line = picture.waiters.iter().filter(|one| one.id == hold.id);
            fields.extend(line.map(|waiter| {
                let waiting = table::since(waiter.queued_since, picture.now);
                let who = spoken::owner(&waiter.owner);
                let access = table::access(waiter);
                (
                    "line",
                    format!("{}. {who}, {access}, for {waiting}", waiter.place),
                )
            }));
            fields
        }),
        Pane::Waiters => state.waiter().map(|waiter| {
            vec![
                ("mutex", written(&waiter.id)),
                ("place", waiter.place.to_string()),
                ("who", spoken::owner(&waiter.owner)),
                ("session", printable(waiter.owner.session_id())),
                ("access", table::access(waiter).to_owned()),
                ("since", spoken::moment(waiter.queued_since, picture.now)),
                ("ticket", waiter.ticket.to_string()),
                ("behind", table::behind(waiter)),
            ]
        }),
    };
    let width = usize::from(area.width);
    let fields = fields.unwrap_or_else(|| vec![("", "it is gone".to_owned())]);
    let lines = fields.iter().filter(|(_, value)| !value.is_empty());
    let lines = lines.flat_map(|(name, value)| wrapped(&format!("{name:8} {value}"), width));
    let lines: Vec<Line<'_>> = lines.map(Line::raw).collect();
    let most = lines.len().saturating_sub(usize::from(area.height));
    let from = usize::from(from).min(most);
    let shown: Vec<Line<'_>> = lines.into_iter().skip(from).collect();
    frame.render_widget(Paragraph::new(shown), area);
    u16::try_from(most).unwrap_or(u16::MAX)
}

/// A text in lines of at most so many columns.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for c in text.chars() {
        let columns = c.width().unwrap_or(0);
        if used + columns > width && used > 0 {
            lines.push(String::new());
            used = 0;
        }
        used += columns;
        if let Some(line) = lines.last_mut() {
            line.push(c);
        }
    }
    lines
}

fn in_colour(state: &State, colour: Color) -> Style {
    match state.has_colours {
        true => Style::new().fg(colour),
        false => BOLD,
    }
}

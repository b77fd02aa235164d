//! The keys of a legacy Redis store: how names are escaped in them, and which of them concern a node.

use crate::types::NodeId;

/// Separates the topic from the node in a remembered route.
const SEPARATOR: char = '\u{1f}';

/// The pattern of all keys that [`FoundKeys::add`] looks for.
pub(in crate::stores) const PATTERN: &str = "lnr_[ct]*";

/// Escapes a name for use in a legacy key.
pub(in crate::stores) fn escaped(name: &str) -> String {
    name.replace('\\', "\\\\").replace(':', "\\c")
}

/// Returns the name that was escaped as `part`.
pub(in crate::stores) fn unescaped(part: &str) -> String {
    let mut text = String::new();
    let mut chars = part.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('c') => text.push(':'),
                Some(other) => text.push(other),
                None => text.push('\\'),
            },
            _ => text.push(c),
        }
    }
    text
}

/// Returns the key of the routes that a node remembers for one of its topics.
pub(in crate::stores) fn routes_key(node: &NodeId, source: &str) -> String {
    format!("lnr_sender:{}:{}:listener", escaped(node.as_str()), escaped(source))
}

/// Returns the topic of a remembered route, and the receiver if the route names it.
pub(in crate::stores) fn route(route: &str) -> (&str, Option<&str>) {
    route.split_once(SEPARATOR).map_or((route, None), |(topic, receiver)| (topic, Some(receiver)))
}

/// Returns the source topic and the receiver of a composite, or `None` if it has another form.
pub(in crate::stores) fn parties(composite: &str) -> Option<(String, String)> {
    let [_, source, receiver] = composite.split(':').collect::<Vec<_>>()[..] else { return None };
    Some((unescaped(source), unescaped(receiver)))
}

/// The legacy keys of a store that concern a node.
#[derive(Default)]
pub(in crate::stores) struct FoundKeys {
    /// The node's composites: `{node}:{source}:{receiver}`, escaped.
    pub(in crate::stores) composites: Vec<String>,
    /// Topics with a number, escaped.
    pub(in crate::stores) numbered: Vec<String>,
    /// Topics with routes whose escaped form differs from their name.
    pub(in crate::stores) routed: Vec<String>,
}

impl FoundKeys {
    /// Adds a key, if it concerns the node.
    pub(in crate::stores) fn add(&mut self, node: &NodeId, key: &str) {
        let own =
            |composite: &&str| composite.strip_prefix(&escaped(node.as_str())).is_some_and(|c| c.starts_with(':'));
        if let Some(composite) = key.strip_prefix("lnr_connection:").and_then(|k| k.strip_suffix(":key")) {
            self.composites.extend(Some(composite).filter(own).map(str::to_owned));
        } else if let Some(topic) = key.strip_prefix("lnr_topic:") {
            self.numbered.extend(topic.strip_suffix(":key").map(str::to_owned));
            let routed = topic.strip_suffix(":addr").filter(|topic| unescaped(topic) != *topic);
            self.routed.extend(routed.map(str::to_owned));
        }
    }

    /// Removes duplicates: a scan may return a key twice.
    pub(in crate::stores) fn sort(&mut self) {
        for keys in [&mut self.composites, &mut self.numbered, &mut self.routed] {
            keys.sort();
            keys.dedup();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_keys_are_escaped_as_liner_broker_does_it() {
        for (name, in_key) in [("plain", "plain"), ("a:b", "a\\cb"), ("a\\cb", "a\\\\cb"), ("\\:", "\\\\\\c")] {
            assert_eq!(escaped(name), in_key);
            assert_eq!(unescaped(in_key), name);
        }
    }

    #[test]
    fn only_keys_that_concern_the_node_are_found() {
        let (node, mut found) = (NodeId::new("a:b").expect("valid"), FoundKeys::default());
        let keys = [
            "lnr_connection:a\\cb:orders:peer:key",
            "lnr_connection:a\\cbc:orders:peer:key",
            "lnr_connection:7:messages",
            "lnr_topic:x\\cy:addr",
            "lnr_topic:plain:addr",
            "lnr_topic:x\\cy:key",
            "lnr_topic:x\\cy:key",
        ];
        keys.iter().for_each(|key| found.add(&node, key));
        found.sort();
        assert_eq!(found.composites, ["a\\cb:orders:peer"]);
        assert_eq!((found.routed, found.numbered), (vec!["x\\cy".to_owned()], vec!["x\\cy".to_owned()]));
        assert_eq!(parties("a\\cb:orders:peer"), Some(("orders".to_owned(), "peer".to_owned())));
        assert_eq!(parties("a:b:c:d"), None);
    }
}

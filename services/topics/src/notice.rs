//! The form in which a subscriber gets a message: SNS's JSON document, a function's event, or the bare message.

use crate::model::message::Message;
use crate::model::name::Named;
use crate::signer::Version;
use serde_json::{Value, json};
use std::fmt::Write;

/// What every notice of one subscription says beside the message.
pub struct Envelope<'a> {
    pub topic: &'a Named,
    pub subscription: &'a str,
    /// `http://host:port`
    pub node: &'a str,
    /// Version, signature and the URL of the certificate; messages of FIFO topics have none.
    pub signature: Option<(Version, &'a str, String)>,
}

/// What is signed: names and values, each on a line of its own, in the order of their names.
pub fn signed_text(topic: &Named, message: &Message, body: &str) -> String {
    let arn = topic.arn().to_string();
    let at = message.at.iso8601();
    let mut text = String::with_capacity(body.len() + 300);
    line(&mut text, "Message", body);
    line(&mut text, "MessageId", &message.id);
    if let Some(subject) = &message.subject {
        line(&mut text, "Subject", subject);
    }
    line(&mut text, "Timestamp", &at);
    line(&mut text, "TopicArn", &arn);
    line(&mut text, "Type", "Notification");
    text
}

fn line(text: &mut String, name: &str, value: &str) {
    let _ = writeln!(text, "{name}\n{value}");
}

/// Fields as SNS writes them: one a line.
fn document(fields: &[(&str, Value)]) -> String {
    let lines: Vec<String> = fields.iter().map(|(name, value)| format!("  {} : {value}", json!(name))).collect();
    format!("{{\n{}\n}}", lines.join(",\n"))
}

impl Envelope<'_> {
    fn unsubscribe_url(&self) -> String {
        unsubscribe_url(self.node, self.subscription)
    }

    /// The document that queues and HTTP endpoints get.
    pub fn notification(&self, message: &Message, body: &str) -> String {
        let mut fields = vec![("Type", json!("Notification")), ("MessageId", json!(message.id))];
        if let Some(sequence) = message.sequence {
            fields.push(("SequenceNumber", json!(sequence_text(sequence))));
        }
        fields.push(("TopicArn", json!(self.topic.arn().to_string())));
        fields.extend(message.subject.as_ref().map(|subject| ("Subject", json!(subject))));
        fields.push(("Message", json!(body)));
        fields.push(("Timestamp", json!(message.at.iso8601())));
        if let Some((version, signature, certificate)) = &self.signature {
            fields.push(("SignatureVersion", json!(version.text())));
            fields.push(("Signature", json!(signature)));
            fields.push(("SigningCertURL", json!(certificate)));
        }
        fields.push(("UnsubscribeURL", json!(self.unsubscribe_url())));
        fields.extend(message.shown().map(|attributes| ("MessageAttributes", attributes)));
        document(&fields)
    }

    /// The event that functions get.
    pub fn function_event(&self, message: &Message, body: &str) -> String {
        let (version, signature, certificate) = match &self.signature {
            Some((version, signature, url)) => (version.text(), *signature, url.as_str()),
            None => ("1", "", ""),
        };
        json!({"Records": [{
            "EventSource": "aws:sns",
            "EventVersion": "1.0",
            "EventSubscriptionArn": self.subscription,
            "Sns": {
                "Type": "Notification",
                "MessageId": message.id,
                "TopicArn": self.topic.arn().to_string(),
                "Subject": message.subject,
                "Message": body,
                "Timestamp": message.at.iso8601(),
                "SignatureVersion": version,
                "Signature": signature,
                "SigningCertUrl": certificate,
                "UnsubscribeUrl": self.unsubscribe_url(),
                "MessageAttributes": message.shown().unwrap_or_else(|| json!({})),
            },
        }]})
        .to_string()
    }
}

/// Twenty digits, as SNS's are.
pub fn sequence_text(sequence: u64) -> String {
    format!("1{sequence:019}")
}

fn escaped(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

fn unsubscribe_url(node: &str, subscription: &str) -> String {
    format!("{node}/?Action=Unsubscribe&SubscriptionArn={}", escaped(subscription))
}

/// What an endpoint is asked to confirm, or may take back.
pub struct Handshake<'a> {
    /// `SubscriptionConfirmation` or `UnsubscribeConfirmation`.
    pub kind: &'a str,
    pub id: &'a str,
    pub at: String,
    pub topic: &'a Named,
    pub subscription: &'a str,
    pub token: &'a str,
    pub node: &'a str,
}

impl Handshake<'_> {
    fn message(&self) -> String {
        let arn = self.topic.arn();
        match self.kind {
            "UnsubscribeConfirmation" => format!(
                "You have chosen to deactivate subscription {}.\nTo cancel this operation and restore the subscription, \
                 visit the SubscribeURL included in this message.",
                self.subscription
            ),
            _ => format!(
                "You have chosen to subscribe to the topic {arn}.\nTo confirm the subscription, visit the SubscribeURL \
                 included in this message."
            ),
        }
    }

    fn subscribe_url(&self) -> String {
        let arn = escaped(&self.topic.arn().to_string());
        format!("{}/?Action=ConfirmSubscription&TopicArn={arn}&Token={}", self.node, self.token)
    }

    pub fn signed_text(&self) -> String {
        let mut text = String::new();
        line(&mut text, "Message", &self.message());
        line(&mut text, "MessageId", self.id);
        line(&mut text, "SubscribeURL", &self.subscribe_url());
        line(&mut text, "Timestamp", &self.at);
        line(&mut text, "Token", self.token);
        line(&mut text, "TopicArn", &self.topic.arn().to_string());
        line(&mut text, "Type", self.kind);
        text
    }

    pub fn document(&self, version: Version, signature: &str, certificate: &str) -> String {
        document(&[
            ("Type", json!(self.kind)),
            ("MessageId", json!(self.id)),
            ("Token", json!(self.token)),
            ("TopicArn", json!(self.topic.arn().to_string())),
            ("Message", json!(self.message())),
            ("SubscribeURL", json!(self.subscribe_url())),
            ("Timestamp", json!(self.at)),
            ("SignatureVersion", json!(version.text())),
            ("Signature", json!(signature)),
            ("SigningCertURL", json!(certificate)),
        ])
    }
}

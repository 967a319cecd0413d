// Package notify tells a webhook how a rehearsal, a gate or a monthly job ended.
//
// A webhook's URL is a secret: who knows it can post. No error of this package
// holds more of it than the host.
package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kube-rehearse/rehearse/harness/pause"
)

// Formats of what is posted.
const (
	FormatSlack = "slack" // Slack's incoming webhooks, and what reads the same: text and blocks
	FormatJSON  = "json"  // the Message itself
)

// Formats lists the formats, the default first.
var Formats = []string{FormatSlack, FormatJSON}

// Message is how something ended. Its JSON form is what FormatJSON posts.
type Message struct {
	Event string `json:"event"` // run, monthly or gate
	// Outcome is a verdict (GO, NO-GO, INCONCLUSIVE), OPEN or CLOSED of a gate,
	// NOTHING-TO-DO, INTERRUPTED, or FAILED where it could not be carried out.
	Outcome   string `json:"outcome"`
	Exit      int    `json:"exit"` // exit code of the command
	Scenario  string `json:"scenario,omitempty"`
	From      string `json:"from,omitempty"`
	To        string `json:"to,omitempty"`
	Simulated bool   `json:"simulated,omitempty"`
	Summary   string `json:"summary,omitempty"` // in one or two sentences why
	Dir       string `json:"dir,omitempty"`     // run directory
	// Link is where to read more, such as the build's page.
	Link string `json:"link,omitempty"`
}

// Bounds of sending one message.
const (
	attempts   = 4
	perAttempt = 10 * time.Second
	altogether = time.Minute
	firstWait  = time.Second // doubled after each attempt
	maxAnswer  = 4 << 10
)

// Webhook posts messages to one URL.
type Webhook struct {
	url    *url.URL
	format string
	client *http.Client
}

// New returns the webhook at address, an http or https URL. Its error does not
// repeat the address.
func New(address, format string) (*Webhook, error) {
	u, err := url.Parse(strings.TrimSpace(address))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("not a URL that begins with https:// or http://")
	}
	if !slices.Contains(Formats, format) {
		return nil, fmt.Errorf("format %q is unknown; accepted: %s", format, strings.Join(Formats, ", "))
	}
	return &Webhook{url: u, format: format, client: &http.Client{
		// A redirect would hand the message to a host that nobody named.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Send posts m and returns when it was accepted. What a network or server does
// for a moment (429, 5xx) is tried again, four times in all and within a minute,
// after as long as the server asks for (Retry-After, RFC 9110 10.2.3).
func (w *Webhook) Send(ctx context.Context, m Message) error {
	body, err := w.body(m)
	if err != nil {
		return fmt.Errorf("notify %s: %w", w.url.Host, err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, altogether, fmt.Errorf("not accepted within %s", altogether))
	defer cancel()
	wait := firstWait
	for n := 1; ; n++ {
		after, again, err := w.post(ctx, body)
		if err == nil {
			return nil
		}
		if !again || n == attempts {
			return fmt.Errorf("notify %s: %w", w.url.Host, err)
		}
		rest := max(wait, after)
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < rest {
			return fmt.Errorf("notify %s: %w; it asks to wait %s, which is too long", w.url.Host, err, rest)
		}
		if ended := pause.For(ctx, rest); ended != nil {
			return fmt.Errorf("notify %s: %w; last: %w", w.url.Host, ended, err)
		}
		wait *= 2
	}
}

// post sends once; after is how long the server asks to wait, and again whether
// another attempt may do better.
func (w *Webhook) post(parent context.Context, body []byte) (after time.Duration, again bool, err error) {
	ctx, cancel := context.WithTimeoutCause(parent, perAttempt, fmt.Errorf("no answer within %s", perAttempt))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url.String(), bytes.NewReader(body))
	if err != nil {
		return 0, false, errors.New("the URL cannot be used")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "rehearse")
	res, err := w.client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return 0, parent.Err() == nil, context.Cause(ctx)
		}
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err // without the URL
		}
		return 0, true, err
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, maxAnswer))
	switch {
	case res.StatusCode >= 200 && res.StatusCode < 300:
		return 0, false, nil
	case res.StatusCode == http.StatusTooManyRequests || res.StatusCode >= 500:
		return retryAfter(res.Header.Get("Retry-After")), true, fmt.Errorf("the server answers %s", res.Status)
	}
	return 0, false, fmt.Errorf("the server answers %s; is the webhook's URL still valid?", res.Status)
}

// retryAfter reads seconds or a date.
func retryAfter(s string) time.Duration {
	if n, err := strconv.Atoi(s); err == nil && n > 0 {
		return time.Duration(min(n, 3600)) * time.Second
	}
	if t, err := http.ParseTime(s); err == nil {
		return max(0, time.Until(t))
	}
	return 0
}

func (w *Webhook) body(m Message) ([]byte, error) {
	if w.format == FormatJSON {
		return json.Marshal(m)
	}
	return json.Marshal(slackOf(m))
}

// Slack's message with blocks, as its reference for incoming webhooks and Block
// Kit gives it: a header of at most 150 characters, sections of at most 3,000.
type (
	slackMessage struct {
		Text   string       `json:"text"` // what a notification shows
		Blocks []slackBlock `json:"blocks"`
	}
	slackBlock struct {
		Type     string      `json:"type"`
		Text     *slackText  `json:"text,omitempty"`
		Elements []slackText `json:"elements,omitempty"`
	}
	slackText struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
)

func slackOf(m Message) slackMessage {
	head := m.Outcome + ": " + m.Event
	if m.Scenario != "" {
		head += " " + m.Scenario
	}
	if m.From != "" && m.To != "" {
		head += ", " + m.From + " to " + m.To
	}
	if m.Simulated {
		head += " (simulated)"
	}
	out := slackMessage{Text: escape(cut(head, 3000)), Blocks: []slackBlock{{Type: "header", Text: &slackText{"plain_text", cut(head, 150)}}}}
	if m.Summary != "" {
		out.Blocks = append(out.Blocks, slackBlock{Type: "section", Text: &slackText{"mrkdwn", escape(cut(m.Summary, 2000))}})
	}
	where := "exit code " + strconv.Itoa(m.Exit)
	if m.Dir != "" {
		where += " · " + m.Dir
	}
	if m.Link != "" {
		where += " · " + m.Link
	}
	out.Blocks = append(out.Blocks, slackBlock{Type: "context", Elements: []slackText{{"mrkdwn", escape(cut(where, 1000))}}})
	return out
}

// escape is how Slack wants its three control characters, so that no text of a
// record becomes a mention or a link.
func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}

// cut returns at most n characters of s.
func cut(s string, n int) string {
	r := []rune(strings.ToValidUTF8(s, "?"))
	if len(r) <= n {
		return string(r)
	}
	return string(r[:n-1]) + "…"
}

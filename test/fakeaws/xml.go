package fakeaws

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// fail answers with an error in the service's own form.
func (c *call) fail(status int, code, message string) {
	switch c.service {
	case "eks":
		c.w.Header().Set("X-Amzn-ErrorType", code)
		c.json(status, object{"message": message})
	case "servicequotas":
		c.json(status, object{"__type": code, "message": message})
	case "ec2":
		c.xml(status, el("Response", el("Errors", el("Error", text("Code", code), text("Message", message))), text("RequestID", "fake")))
	case "s3":
		c.xml(status, el("Error", text("Code", code), text("Message", message), text("RequestId", "fake")))
	default:
		c.xml(status, el("ErrorResponse", el("Error", text("Type", "Sender"), text("Code", code), text("Message", message)), text("RequestId", "fake")))
	}
}

// el and text build XML.
func el(name string, inner ...string) string {
	return "<" + name + ">" + strings.Join(inner, "") + "</" + name + ">"
}

func text(name string, value any) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, fmt.Append(nil, value))
	return el(name, b.String())
}

func each[T any](name string, all []T, f func(T) string) string {
	var b strings.Builder
	for _, x := range all {
		b.WriteString(el(name, f(x)))
	}
	return b.String()
}

func textList(name string, all []string) string {
	var b strings.Builder
	for _, s := range all {
		b.WriteString(text(name, s))
	}
	return b.String()
}

func (c *call) xml(status int, body string) {
	c.w.Header().Set("Content-Type", "text/xml")
	c.w.WriteHeader(status)
	_, _ = c.w.Write([]byte(body))
}

// listed returns the values of a list parameter: SubnetId.1, Names.member.2.
func listed(q url.Values, name string) []string {
	var all []string
	for i := 1; ; i++ {
		v := q.Get(name + "." + strconv.Itoa(i))
		if v == "" {
			v = q.Get(name + ".member." + strconv.Itoa(i))
		}
		if v == "" {
			return all
		}
		all = append(all, v)
	}
}

// filters are EC2's Filter.N.Name and Filter.N.Value.M.
func filters(q url.Values) map[string][]string {
	out := map[string][]string{}
	for i := 1; q.Get(fmt.Sprintf("Filter.%d.Name", i)) != ""; i++ {
		out[q.Get(fmt.Sprintf("Filter.%d.Name", i))] = listed(q, fmt.Sprintf("Filter.%d.Value", i))
	}
	return out
}

func wanted(ids []string, id string) bool { return len(ids) == 0 || slices.Contains(ids, id) }

// query answers the services of the query protocol.
func (c *call) query() {
	q, err := url.ParseQuery(string(c.body))
	if err != nil {
		c.fail(http.StatusBadRequest, "MalformedQueryString", err.Error())
		return
	}
	op := q.Get("Action")
	if !c.begin(op) {
		return
	}
	if f := queries[c.service+":"+op]; f != nil {
		f(c, q)
		return
	}
	c.fail(http.StatusBadRequest, "InvalidAction", unknown(c.service+":"+op))
}

// result answers the query protocol, whose results are wrapped; EC2's are not.
func (c *call) result(op string, inner ...string) {
	body := strings.Join(inner, "")
	if c.service != "ec2" {
		body = el(op+"Result", body)
	}
	c.xml(http.StatusOK, el(op+"Response", body, text("requestId", "fake")))
}

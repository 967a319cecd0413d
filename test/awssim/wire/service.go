package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"sync/atomic"

	"github.com/aws/smithy-go"
)

// Protocol is how a service is spoken to.
type Protocol int

// The protocols of the services that kops calls, but for S3's.
const (
	Query Protocol = iota
	EC2
	JSON
)

// Service is one service behind a protocol.
type Service struct {
	Name     string // as in a request's signature, such as autoscaling
	Protocol Protocol
	// Target has a method for each action, in the form of a v2 client's.
	Target any
	// Model is v1's client of the service, whose methods name the v1 types; unused
	// for JSON.
	Model reflect.Type
	// Newer are parameters that came after v1's last release, by action. They are
	// read past.
	Newer map[string][]string
}

// Gap is an action, or a part of one, that the simulation does not know.
type Gap struct{ What string }

func (g *Gap) Error() string { return "not simulated: " + g.What }

// Fail returns an error of a service with its code.
func Fail(code, format string, args ...any) error {
	return &smithy.GenericAPIError{Code: code, Message: fmt.Sprintf(format, args...), Fault: smithy.FaultClient}
}

var requests atomic.Uint64

// Action names what a request asks for.
func (s Service) Action(r *http.Request) string {
	if s.Protocol == JSON {
		_, action, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		return action
	}
	return r.PostFormValue("Action")
}

// Serve answers one request. body is the whole of it for JSON; the form of the
// others must be parsed already. The error is what the client was told, for the
// log.
func (s Service) Serve(w http.ResponseWriter, r *http.Request, body []byte) error {
	action := s.Action(r)
	id := fmt.Sprintf("awssim-%d", requests.Add(1))
	w.Header().Set("X-Amzn-Requestid", id)
	text, err := s.answer(r, action, id, body)
	if err != nil {
		s.fail(w, id, err)
		return err
	}
	w.Header().Set("Content-Type", s.contentType())
	_, _ = w.Write(text)
	return nil
}

func (s Service) contentType() string {
	if s.Protocol == JSON {
		return "application/x-amz-json-1.1"
	}
	return "text/xml"
}

func (s Service) answer(r *http.Request, action, id string, body []byte) ([]byte, error) {
	method := reflect.ValueOf(s.Target).MethodByName(action)
	if !method.IsValid() || method.Type().NumIn() < 2 {
		return nil, &Gap{s.Name + " " + action}
	}
	in := reflect.New(method.Type().In(1).Elem())
	if s.Protocol == JSON {
		if err := json.Unmarshal(body, in.Interface()); err != nil {
			return nil, fmt.Errorf("%s %s: %w", s.Name, action, err)
		}
		out, err := s.call(r.Context(), method, in, action)
		if err != nil {
			return nil, err
		}
		return json.Marshal(document(out))
	}
	model, ok := s.Model.MethodByName(action)
	if !ok {
		return nil, &Gap{s.Name + " " + action + " in the model"}
	}
	request := reflect.New(model.Type.In(1).Elem())
	form := tree(r.PostForm)
	for _, name := range append([]string{"Action", "Version"}, s.Newer[action]...) {
		if n := form.child(name); n != nil {
			n.used = true
		}
	}
	if err := decode(form, request.Elem(), "", s.Protocol == EC2); err != nil {
		return nil, fmt.Errorf("%s %s: %w", s.Name, action, err)
	}
	if left := form.unused(""); len(left) > 0 {
		return nil, &Gap{fmt.Sprintf("%s %s with %s", s.Name, action, strings.Join(left, ", "))}
	}
	if err := assign(in.Elem(), request); err != nil {
		return nil, fmt.Errorf("%s %s: %w", s.Name, action, err)
	}
	out, err := s.call(r.Context(), method, in, action)
	if err != nil {
		return nil, err
	}
	answer := reflect.New(model.Type.Out(0).Elem())
	if err := assign(answer.Elem(), out); err != nil {
		return nil, fmt.Errorf("%s %s: answer: %w", s.Name, action, err)
	}
	var b strings.Builder
	if err := members(&b, answer); err != nil {
		return nil, fmt.Errorf("%s %s: answer: %w", s.Name, action, err)
	}
	if s.Protocol == EC2 {
		return fmt.Appendf(nil, "<%[1]sResponse><requestId>%[2]s</requestId>%[3]s</%[1]sResponse>", action, id, b.String()), nil
	}
	return fmt.Appendf(nil, "<%[1]sResponse><%[1]sResult>%[3]s</%[1]sResult><ResponseMetadata><RequestId>%[2]s</RequestId></ResponseMetadata></%[1]sResponse>", action, id, b.String()), nil
}

// call calls the action. What panics, such as a method that the mock has only as
// an interface's, is a gap.
func (s Service) call(ctx context.Context, method, in reflect.Value, action string) (out reflect.Value, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &Gap{fmt.Sprintf("%s %s: %v", s.Name, action, p)}
		}
	}()
	results := method.Call([]reflect.Value{reflect.ValueOf(ctx), in})
	err, _ = results[1].Interface().(error)
	return results[0], err
}

func (s Service) fail(w http.ResponseWriter, id string, err error) {
	code, status := "ValidationError", http.StatusBadRequest
	var api smithy.APIError
	var gap *Gap
	switch {
	case errors.As(err, &api):
		code = api.ErrorCode()
	case errors.As(err, &gap):
		code = "UnsupportedOperation"
	}
	if s.Protocol == JSON {
		w.Header().Set("Content-Type", s.contentType())
		w.Header().Set("X-Amzn-Errortype", code)
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]string{"__type": code, "message": err.Error()})
		return
	}
	var b strings.Builder
	_ = element(&b, "Code", reflect.ValueOf(code), "")
	_ = element(&b, "Message", reflect.ValueOf(message(err)), "")
	w.Header().Set("Content-Type", s.contentType())
	w.WriteHeader(status)
	if s.Protocol == EC2 {
		fmt.Fprintf(w, "<Response><Errors><Error>%s</Error></Errors><RequestID>%s</RequestID></Response>", b.String(), id)
		return
	}
	fmt.Fprintf(w, "<ErrorResponse><Error><Type>Sender</Type>%s</Error><RequestId>%s</RequestId></ErrorResponse>", b.String(), id)
}

func message(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorMessage()
	}
	return err.Error()
}

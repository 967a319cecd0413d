package serve

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/kube-rehearse/rehearse/harness/judge"
	"github.com/kube-rehearse/rehearse/reports"
)

//go:embed assets
var own embed.FS

// Options of a server.
type Options struct {
	// Hosts are names, besides localhost and addresses, by which browsers may call
	// the server; see allowed.
	Hosts []string
	// AnyAddress accepts any address as a host, for a server that other machines
	// may reach; otherwise only loopback ones are accepted.
	AnyAddress bool
	Tool       string // version of rehearse
	Log        *slog.Logger
}

// Server shows the runs of a directory. It is safe for concurrent use.
type Server struct {
	o        Options
	store    *store
	cache    *cache
	turn     chan struct{}
	pages    map[string]*template.Template
	assets   map[string]asset
	reporter string // content security policy of a report
	mux      *http.ServeMux

	judgements atomic.Int64 // records judged so far
}

type asset struct {
	kind string
	body []byte
}

// New returns a server of the runs below dir, which must be a directory and no
// run directory itself.
func New(dir string, o Options) (*Server, error) {
	st, err := newStore(dir)
	if err != nil {
		return nil, err
	}
	s := &Server{o: o, store: st, cache: newCache(maxCached), turn: make(chan struct{}, 1), pages: map[string]*template.Template{}, mux: http.NewServeMux()}
	if s.o.Log == nil {
		s.o.Log = slog.New(slog.DiscardHandler)
	}
	if s.reporter, err = reports.Policy(); err != nil {
		return nil, err
	}
	if err := s.loadAssets(); err != nil {
		return nil, err
	}
	for _, name := range []string{"list", "history", "compare", "message"} {
		t, err := template.New(name).Funcs(reports.PageFuncs()).Funcs(pageFuncs).ParseFS(own, "assets/layout.tmpl", "assets/"+name+".tmpl")
		if err != nil {
			return nil, err
		}
		s.pages[name] = t
	}
	s.mux.HandleFunc("/{$}", s.listPage)
	s.mux.HandleFunc("/history", s.historyPage)
	s.mux.HandleFunc("/compare", s.comparePage)
	s.mux.HandleFunc("/run/{dir...}", s.runPage)
	s.mux.HandleFunc("/assets/{name...}", s.asset)
	s.mux.HandleFunc("/favicon.ico", s.icon)
	s.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		s.message(w, http.StatusNotFound, "There is no such page", "The list of runs leads to all there are.")
	})
	return s, nil
}

// Runs says how many runs the directory holds at this moment. It reads none.
func (s *Server) Runs() (int, error) {
	found, l, err := s.store.directories()
	if err != nil {
		return 0, err
	}
	return len(found) + l.Left, nil
}

func (s *Server) loadAssets() error {
	s.assets = map[string]asset{}
	shared, err := reports.Assets()
	if err != nil {
		return err
	}
	below, err := fs.Sub(own, "assets")
	if err != nil {
		return err
	}
	for _, x := range []struct {
		from fs.FS
		name string
		kind string
	}{
		{shared, "uplot/uPlot.min.css", "text/css"}, {shared, "report.css", "text/css"}, {below, "serve.css", "text/css"},
		{shared, "uplot/uPlot.iife.min.js", "text/javascript"}, {shared, "basics.js", "text/javascript"},
		{below, "page.js", "text/javascript"}, {below, "history.js", "text/javascript"}, {below, "icon.svg", "image/svg+xml"},
	} {
		b, err := fs.ReadFile(x.from, x.name)
		if err != nil {
			return err
		}
		s.assets[x.name] = asset{x.kind + "; charset=utf-8", b}
	}
	return nil
}

// policy is the content security policy of every page but a report.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	defer func() {
		// A record is made by others; whatever it does to a page, the other pages stay.
		if x := recover(); x != nil {
			s.o.Log.Error("a page could not be made", "path", r.URL.Path, "panic", x)
			s.message(w, http.StatusInternalServerError, "This page could not be made", "That is a fault of rehearse: please report it with the run directory.")
		}
	}()
	if !s.allowed(r.Host) {
		// A page of another site may have a name of its own lead to this machine (DNS
		// rebinding), and would then read what is served here.
		http.Error(w, fmt.Sprintf("This server is not called %q. Open it by its address.", reports.Line(r.Host)), http.StatusMisdirectedRequest)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "This server only shows what is there: GET and HEAD are answered.", http.StatusMethodNotAllowed)
		return
	}
	s.mux.ServeHTTP(w, r)
}

// allowed reports whether a request's Host is a name of this server. Addresses
// cannot be made to lead elsewhere; names can.
func (s *Server) allowed(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(hostport, "["), "]")
	}
	if ip := net.ParseIP(host); ip != nil {
		return s.o.AnyAddress || ip.IsLoopback()
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host == "localhost" || slices.ContainsFunc(s.o.Hosts, func(name string) bool { return strings.EqualFold(name, host) })
}

func (s *Server) asset(w http.ResponseWriter, r *http.Request) {
	a, ok := s.assets[r.PathValue("name")]
	if !ok {
		s.message(w, http.StatusNotFound, "There is no such file", "")
		return
	}
	w.Header().Set("Content-Type", a.kind)
	w.Write(a.body) //nolint:errcheck // the reader went away
}

func (s *Server) icon(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "image/svg+xml")
	w.Write(s.assets["icon.svg"].body) //nolint:errcheck // the reader went away
}

// layout is what every page has besides its own data.
type layout struct {
	Title, Here string // Here is the part of the navigation that the page belongs to
	Tool        string
	Script      string // a further script, or empty
	Page        any
}

// show writes a page whole, or an error and nothing of it.
func (s *Server) show(w http.ResponseWriter, status int, name, title, script string, data any) {
	body, err := s.render(name, title, script, data)
	if err != nil {
		s.o.Log.Error("a page could not be made", "page", name, "error", err)
		http.Error(w, "This page could not be made: "+err.Error(), http.StatusInternalServerError)
		return
	}
	s.write(w, page{status: status, body: body})
}

func (s *Server) render(name, title, script string, data any) ([]byte, error) {
	var b bytes.Buffer
	err := s.pages[name].ExecuteTemplate(&b, "layout.tmpl", layout{Title: title, Here: name, Tool: s.o.Tool, Script: script, Page: data})
	return b.Bytes(), err
}

func (s *Server) write(w http.ResponseWriter, p page) {
	if p.policy != "" {
		w.Header().Set("Content-Security-Policy", p.policy)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(p.status)
	w.Write(p.body) //nolint:errcheck // the reader went away
}

func (s *Server) message(w http.ResponseWriter, status int, title, text string) {
	s.show(w, status, "message", title, "", struct{ Title, Text string }{title, text})
}

// runURL leads to a run's report.
func runURL(dir string) string { return "/run/" + escapePath(dir) }

// id names a run in a form: its directory, or, where that has what does not print,
// its escaped spelling.
func id(dir string) string {
	if reports.Line(dir) == dir && !strings.HasPrefix(dir, "%") {
		return dir
	}
	return "%" + escapePath(dir)
}

func escapePath(dir string) string {
	parts := strings.Split(dir, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return strings.Join(parts, "/")
}

// pageFuncs are what the templates call besides those of a report.
var pageFuncs = template.FuncMap{
	"runURL": runURL,
	"id":     id,
	"line":   reports.Line,
	"query":  url.QueryEscape,
	"day":    func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") },
	"machine": func(t time.Time) string {
		return t.UTC().Format(time.RFC3339)
	},
	"ratio": func(p *float64) string { return fmt.Sprintf("%.0f%%", 100**p) },
	"tone": func(o judge.Outcome) string {
		if o == "" {
			return "none"
		}
		return strings.ToLower(string(o))
	},
	"mark": func(o judge.Outcome) string {
		switch o {
		case judge.Go:
			return "✓"
		case judge.NoGo:
			return "✗"
		case judge.Inconclusive:
			return "?"
		}
		return "–"
	},
	"took":      took,
	"deref":     func(d *time.Duration) time.Duration { return *d },
	"longer":    longer,
	"json":      func(v any) (template.JS, error) { b, err := json.Marshal(v); return template.JS(b), err }, //nolint:gosec // Marshal escapes for HTML
	"lastPart":  func(dir string) string { return dir[strings.LastIndex(dir, "/")+1:] },
	"folder":    func(dir string) string { return dir[:max(0, strings.LastIndex(dir, "/"))] },
	"different": func(a, b string) bool { return a != b },
}

// longer writes how much longer b took than a, where that is worth a word.
func longer(a, b *time.Duration) string {
	if a == nil || b == nil {
		return ""
	}
	d := *b - *a
	if d.Abs() < time.Second || float64(d.Abs()) < 0.05*float64(*a) {
		return "="
	}
	sign := "+"
	if d < 0 {
		sign = "−"
	}
	return sign + d.Abs().Round(time.Second/10).String()
}

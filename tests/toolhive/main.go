// ToolHive's own authorization in front of a server of this program's, without the rest of ToolHive.
//
//	authorizer AUTHZ_JSON SERVER_NAME TOOLS_JSON
//
// A line {"claims", "message"} in, a line {"status", "body", "reached", "ms"} out. `claims` are those of a token that
// has been verified, which is what ToolHive's own token middleware leaves to the rest. `message` is what an MCP client
// posts. `reached` tells whether it got as far as the server, and `ms` how long the answer took.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	"github.com/stacklok/toolhive/pkg/auth"
	"github.com/stacklok/toolhive/pkg/authz"
	_ "github.com/stacklok/toolhive/pkg/authz/authorizers/http"
	"github.com/stacklok/toolhive/pkg/mcp"
)

type question struct {
	Claims  map[string]any  `json:"claims"`
	Message json.RawMessage `json:"message"`
}

type outcome struct {
	Status  int    `json:"status"`
	Body    string `json:"body"`
	Reached bool   `json:"reached"`
	Ms      int64  `json:"ms"`
}

// server answers lists with its tools, and everything else with an empty result.
type server struct {
	tools   json.RawMessage
	reached bool
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.reached = true
	parsed := mcp.GetParsedMCPRequest(r.Context())
	result := json.RawMessage(`{}`)
	if parsed.Method == "tools/list" {
		result = json.RawMessage(fmt.Sprintf(`{"tools":%s}`, s.tools))
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"jsonrpc": "2.0", "id": parsed.ID, "result": result})
}

func ask(chain func(http.Handler) http.Handler, tools json.RawMessage, asked question) outcome {
	behind := &server{tools: tools}
	request := httptest.NewRequest(http.MethodPost, "/mcp", strings.NewReader(string(asked.Message)))
	request.Header.Set("Content-Type", "application/json")
	identity := &auth.Identity{PrincipalInfo: auth.PrincipalInfo{Claims: asked.Claims}}
	request = request.WithContext(auth.WithIdentity(request.Context(), identity))
	answer := httptest.NewRecorder()
	started := time.Now()
	chain(behind).ServeHTTP(answer, request)
	return outcome{answer.Code, answer.Body.String(), behind.reached, time.Since(started).Milliseconds()}
}

func run(config, name, tools string) error {
	list, err := os.ReadFile(tools)
	if err != nil {
		return err
	}
	middleware, err := authz.GetMiddlewareFromFile(name, config, nil)
	if err != nil {
		return err
	}
	chain := func(next http.Handler) http.Handler { return mcp.ParsingMiddleware(middleware(next)) }
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var asked question
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			return err
		}
		if err := out.Encode(ask(chain, list, asked)); err != nil {
			return err
		}
	}
	return lines.Err()
}

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: authorizer AUTHZ_JSON SERVER_NAME TOOLS_JSON")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

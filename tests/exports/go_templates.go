// Renders chats by a template as Ollama does: JSON with a template and conversations in, their texts out.
package main

import (
	"bytes"
	"encoding/json"
	"os"
	"text/template"
)

type turn struct{ Role, Content string }

func main() {
	var given struct {
		Template      string
		Conversations [][]*turn
	}
	if err := json.NewDecoder(os.Stdin).Decode(&given); err != nil {
		panic(err)
	}
	parsed := template.Must(template.New("").Parse(given.Template))
	texts := []string{}
	for _, turns := range given.Conversations {
		var text bytes.Buffer
		if err := parsed.Execute(&text, map[string]any{"Messages": turns, "System": "", "Response": ""}); err != nil {
			panic(err)
		}
		texts = append(texts, text.String())
	}
	json.NewEncoder(os.Stdout).Encode(texts)
}

"""The help text of every job field: the flags of the command and the fields of the Prefect form show the same sentence."""

from __future__ import annotations

FIELD_HELP = {
    "source": "Folder or bucket of images (s3://, gs://, az://), one image, or a manifest (.txt, .csv, .jsonl, .parquet"
    " with a column uri).",
    "schema_name": "Schema to extract: a name from `tilewise schemas`, package.module:Model, or path/to/file.py:Model.",
    "policy": "Image size policy. faithful: keep every pixel that the model can see; balanced: start small, retry larger"
    " if validation fails; thrifty: start smaller still. Default: the ladder that tune stored, else balanced.",
    "climb_below": "Read a document again with more pixels while the confidence of a field is below this, from 0 to 1;"
    " implies confidence.",
    "output": "Folder or bucket (s3://, gs://, az://) for the tables. Default: TILEWISE_OUTPUT.",
    "modified_since": "Only images modified on or after this UTC day or time.",
    "modified_until": "Only images modified on or before this UTC day or time.",
    "redo": "Process documents again. failed: final failures; changed: results of another schema, prompt or model;"
    " reparse: validate stored replies again, without API calls; all: every document.",
    "redo_before": "With redo: leave out documents that got a result, a copy or a final failure at or after this UTC day"
    " or time, as the message of an interrupted redo names it.",
    "kind": "With redo `failed`: only failures of this kind.",
    "budget": "Maximum spend of this run in US dollars.",
    "when_expensive": "What to do if the high estimate is above TILEWISE_ASK_ABOVE and no budget is set. plan: store a"
    " plan that waits for approval; run: run without approval; stop: fail.",
    "model": "Model id, as the endpoint lists it. Default: TILEWISE_MODEL.",
    "limit": "Maximum number of documents to process.",
    "plan_only": "Store the plan with its cost estimate and stop; `apply` runs it.",
    "dry_run": "Estimate only; write nothing.",
    "yes": "Skip the cost confirmation.",
    "base_url": "API base URL, up to and including /v1. Default: TILEWISE_BASE_URL.",
    "offline": "Use local OCR instead of the API.",
    "bill": "Rule by which the server bills images, for example formula or table; auto selects it.",
    "fail_above": "Share of failed documents, from 0 to 1, above which the run fails.",
    "max_time": "Start no new documents after this time: 90s, 30m, 6h.",
    "document_by": "What is one document. folder: the images of a folder; name: images named a-1.jpg and a-2.jpg; frames:"
    " the frames of a TIFF; page: each page of a PDF and each frame of a TIFF. Default: each file.",
    "include": "Only images that match this pattern: *.png matches names at any depth, 2026/**/*.png the whole path below"
    " the source; .scans/** also reads that hidden folder. Can be repeated.",
    "exclude": "No images that match this pattern, written as for include, which it overrides. Can be repeated.",
    "send_urls": "Send http(s) image URLs to the API instead of downloading the images.",
    "video_tokens": "Maximum number of tokens billed for one video.",
    "confidence": "Ask the server for the log probability of each token, and record the confidence of every value.",
    "witness": "Look for every value on the original with local OCR, and record its page and box. doubtful: in documents whose"
    " confidence is unknown or below the threshold; all: in every accepted document.",
    "audit": "Read this number of random documents that were accepted below the top rung once more at the top, and report"
    " how many differ.",
    "shard_size": "Number of documents per shard: splits the run into flow runs on the Prefect work pool.",
}

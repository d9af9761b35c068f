"""What the dashboard says, in English and Spanish."""

from typing import Any

from notebooks.spanish import DEFINITIONS

LANGUAGES = {"en": "English", "es": "Español"}

# name: English, Spanish
_WORDS: dict[str, tuple[str, str]] = {
    # codes of the starting set of answer_codes.csv
    "cash": ("Cash", "Efectivo"),
    "cash_network": ("Shop counter", "Tienda de conveniencia"),
    "transfer": ("Transfer", "Transferencia"),
    "bank_deposit": ("Bank deposit", "Depósito bancario"),
    "card": ("Card", "Tarjeta"),
    "direct_debit": ("Direct debit", "Domiciliación"),
    "promise": ("Promise to pay", "Promesa de pago"),
    "claims_paid": ("Says it is paid", "Dice que ya pagó"),
    "claims_partial": ("Says part is paid", "Dice que pagó una parte"),
    "refusal": ("Refuses to pay", "Negativa de pago"),
    "hardship": ("Cannot pay", "Insolvente"),
    "dispute": ("Dispute", "Aclaración"),
    "third_party_message": ("Message left with somebody", "Recado con tercero"),
    "notice_left": ("Notice left", "Se dejó aviso"),
    "moved": ("Moved away", "Ya no vive ahí"),
    "address_not_found": ("Address not found", "Domicilio no localizado"),
    "address_vacant": ("Nobody lives there", "Domicilio deshabitado"),
    "deceased": ("Deceased", "Fallecido"),
    "unsafe": ("Unsafe area", "Zona de riesgo"),
    "refuted": ("Refuted", "Refutado"),
    "inconclusive": ("Inconclusive", "No concluyente"),
    "unmapped": ("Not mapped", "Sin mapear"),
    # reasons for which a delivery is rejected
    "empty": ("Empty", "Vacía"),
    "not_utf8": ("Not UTF-8", "No es UTF-8"),
    "packed": ("Compressed, and cannot be unpacked", "Comprimida, y no se puede descomprimir"),
    "not_json": ("Not JSON", "No es JSON"),
    "not_json_number": ("NaN or Infinity in it", "Contiene NaN o Infinity"),
    "not_an_object": ("Not a JSON object", "No es un objeto JSON"),
    "too_deep": ("Nested too deep", "Anidada en exceso"),
    "too_many_keys": ("Too many keys", "Demasiadas claves"),
    "too_many_values": ("Too many values", "Demasiados valores"),
    "no_visit_id": ("Without visitID", "Sin visitID"),
    "crashed_reader": ("A reader died of it", "Un lector murió al leerla"),
    # the frame
    "title": ("Kobra visits", "Visitas Kobra"),
    "published": ("Published {at} UTC, as of {day}", "Publicado {at} UTC, al {day}"),
    "nothing_published": (
        "Nothing is published yet. Run `kobra run`: this page then fills by itself.",
        "Aún no hay nada publicado. Ejecute `kobra run`: esta página se llena sola.",
    ),
    "nothing_here": ("Nothing here for what is chosen.", "Nada aquí para lo elegido."),
    "unknown": ("unknown", "sin dato"),
    "not_measurable": ("not measurable", "no medible"),
    "first_of": ("The first {shown} of {all}.", "Los primeros {shown} de {all}."),
    "download": ("Download as CSV", "Descargar como CSV"),
    "all": ("All", "Todos"),
    "before": ("before", "antes"),
    "points": ("points", "puntos"),
    "yes": ("yes", "sí"),
    "no": ("no", "no"),
    "days": ("Days", "Días"),
    "sources": ("Source", "Origen"),
    "products": ("Product", "Producto"),
    "agents": ("Agents", "Agentes"),
    "product_0": ("Unknown product", "Producto desconocido"),
    "product_1": ("Debt collection", "Cobranza"),
    "product_2": ("Address validation", "Validación de domicilio"),
    "product_3": ("Business validation", "Validación de negocio"),
    # pages
    "outcomes": ("Outcomes", "Resultados"),
    "hours": ("When to visit", "Cuándo visitar"),
    "promises": ("Promises", "Promesas"),
    "follow_ups": ("Follow-ups", "Seguimientos"),
    "map": ("Map", "Mapa"),
    "health": ("Data health", "Salud de los datos"),
    # outcomes
    "against": (
        "Each figure against the period before, of the same length: {since} to {until}.",
        "Cada cifra contra el periodo anterior, de igual duración: {since} a {until}.",
    ),
    "nothing_before": (
        "In the period before, {since} to {until}, there is nothing to compare with.",
        "En el periodo anterior, {since} a {until}, no hay con qué comparar.",
    ),
    "left_out": (
        "Rates counted over fewer than {enough}, and kept promises of days that are not all decided, are not drawn.",
        "No se dibujan las tasas calculadas sobre menos de {enough}, ni las promesas cumplidas de días con alguna sin resolver.",
    ),
    "too_few_to_draw": (
        "No rate is counted over {enough} or more here: choose weeks, more days or fewer filters.",
        "Aquí ninguna tasa se calcula sobre {enough} o más: elija semanas, más días o menos filtros.",
    ),
    "grey_groups": (
        "In grey: fewer than {enough} completed visits, too few to compare.",
        "En gris: menos de {enough} visitas completadas, muy pocas para comparar.",
    ),
    "trend": ("Over time", "En el tiempo"),
    "breakdown": ("By whom and of what", "Desglose"),
    "by": ("By", "Por"),
    "day": ("Day", "Día"),
    "week": ("Week", "Semana"),
    "product": ("Product", "Producto"),
    "agent": ("Agent", "Agente"),
    "source": ("Source", "Origen"),
    "group": ("Group", "Grupo"),
    "figure": ("Figure", "Indicador"),
    "share": ("Share", "Proporción"),
    "counted": ("Counted", "Contados"),
    "out_of": ("Out of", "De un total de"),
    "visits_completed": ("Completed visits", "Visitas completadas"),
    "visits_cancelled": ("Cancelled", "Canceladas"),
    "visits_ended": ("Completed or cancelled", "Completadas o canceladas"),
    "contact_known": ("Visits with contact known", "Visitas con contacto conocido"),
    "contacts": ("Contacts", "Contactos"),
    "rpcs": ("Right-party contacts", "Contactos con titular"),
    "contacts_asked": ("Contacts asked for a promise", "Contactos con pregunta de promesa"),
    "promises_in_contact": ("Promises with contact", "Promesas con contacto"),
    "promise_amount": ("Amount promised", "Monto prometido"),
    "contact_rate": ("Contact rate", "Tasa de contacto"),
    "rpc_rate": ("Right-party contact rate", "Tasa de contacto con titular"),
    "ptp_per_contact": ("Promises per contact", "Promesas por contacto"),
    "kept_rate": ("Promises kept", "Promesas cumplidas"),
    "validated": ("Validated", "Validadas"),
    "concluded": ("Validated or refuted", "Validadas o refutadas"),
    "validated_rate": ("Validated rate", "Tasa de validación"),
    "cancellation_rate": ("Cancellation rate", "Tasa de cancelación"),
    # when to visit
    "hours_note": (
        "All days on record. The number is the rate; the colour is what it is at least, with 95 % certainty. Grey "
        "cells have too few visits to compare.",
        "Todos los días registrados. El número es la tasa; el color es su valor mínimo con 95 % de certeza. Las celdas "
        "grises tienen muy pocas visitas para comparar.",
    ),
    "best_hours": ("Best hours", "Mejores horas"),
    "weekday": ("Weekday", "Día de la semana"),
    "hour": ("Hour", "Hora"),
    "local_hour": ("Local hour", "Hora local"),
    "at_least": ("At least (95 %)", "Al menos (95 %)"),
    "contact_rate_low95": ("At least (95 %)", "Al menos (95 %)"),
    "rpc_rate_low95": ("At least (95 %)", "Al menos (95 %)"),
    "enough": ("Enough visits", "Visitas suficientes"),
    # agents
    "agents_note": (
        "Ranked by the share of productive visits that is certain (95 %), from {enough} visits on. Agents in grey have "
        "fewer in these days. Doubtful visits are to be looked into; they prove nothing.",
        "Orden por la proporción segura (95 %) de visitas productivas, a partir de {enough} visitas. En gris, quienes "
        "tienen menos en estos días. Las visitas dudosas deben revisarse; no prueban nada.",
    ),
    "ranking": ("Ranking", "Clasificación"),
    "rank": ("#", "#"),
    "visits": ("Visits", "Visitas"),
    "visits_per_day": ("Visits per day", "Visitas por día"),
    "productive_visits": ("Productive visits", "Visitas productivas"),
    "productive_rate": ("Productive", "Productivas"),
    "productive_low95": ("At least (95 %)", "Al menos (95 %)"),
    "on_site_per_visit": ("Minutes per visit", "Minutos por visita"),
    "travel_per_day": ("Km per day", "Km por día"),
    "doubtful": ("Doubtful visits", "Visitas dudosas"),
    "doubtful_rate": ("Doubtful", "Dudosas"),
    "tested": ("Tested", "Probadas"),
    "quality_flags": ("What is odd about visits", "Qué hay de extraño en las visitas"),
    "check": ("Check", "Revisión"),
    "failed": ("Failed", "Con falla"),
    "failed_rate": ("Share, all days", "Proporción, todos los días"),
    "failed_share": ("Share", "Proporción"),
    "gps_missing": ("No usable coordinates", "Sin coordenadas utilizables"),
    "gps_emulator_default": ("Coordinates of an emulator", "Coordenadas de un emulador"),
    "negative_duration": ("Ends before it starts", "Termina antes de empezar"),
    "too_short": ("Too short", "Demasiado corta"),
    "too_long": ("Too long", "Demasiado larga"),
    "clock_skew": ("Clock runs ahead", "Reloj adelantado"),
    "late_arrival": ("Received late", "Recibida tarde"),
    "time_zone_unknown": ("Time zone unknown", "Zona horaria desconocida"),
    "start_in_gap": ("Starts at a time that never was", "Empieza a una hora inexistente"),
    "out_of_hours": ("Outside lawful hours", "Fuera de horario permitido"),
    "third_party_contact": ("Contact with a third party", "Contacto con un tercero"),
    "overlaps_previous": ("Overlaps the visit before", "Se traslapa con la anterior"),
    "impossible_speed": ("Impossible speed", "Velocidad imposible"),
    "same_spot": ("Several accounts at one point", "Varias cuentas en un mismo punto"),
    "promise_without_contact": ("Promise without contact", "Promesa sin contacto"),
    "out_of_place": ("Far from the account's point", "Lejos del punto de la cuenta"),
    "tag_conflict": ("Label and checklist disagree", "Etiqueta y cuestionario discrepan"),
    "unparsed_answers": ("Answers that do not read as their type", "Respuestas que no se leen como su tipo"),
    "unmapped_answers": ("Answers that no role is mapped to", "Respuestas sin papel asignado"),
    "unread_start": ("A start that is no time", "Inicio que no es una hora"),
    "unread_end": ("An end that is no time", "Fin que no es una hora"),
    "leftovers_of_visits": ("Fields of a visit that nobody reads", "Campos de la visita que nadie lee"),
    "leftovers_of_questions": ("Fields of a question that nobody reads", "Campos de una pregunta que nadie lee"),
    "leftovers_of_answers": ("Fields of an answer that nobody reads", "Campos de una respuesta que nadie lee"),
    # promises
    "as_of": ("As of {day}.", "Al {day}."),
    "due_today": ("Due today", "Vencen hoy"),
    "due_today_amount": ("Amount due today", "Monto que vence hoy"),
    "due_this_week": ("Due this week", "Vencen esta semana"),
    "due_this_week_amount": ("Amount due this week", "Monto que vence esta semana"),
    "in_grace": ("Past due, in grace", "Vencidas, en gracia"),
    "due_in_period": ("Fell due in these days", "Vencieron en estos días"),
    "cohorts": ("By month in which they fall due", "Por mes de vencimiento"),
    "grey_months": (
        "In grey: not all are decided. Rates count those whose window has passed.",
        "En gris: no todas están resueltas. Las tasas cuentan aquellas cuyo plazo ya terminó.",
    ),
    "due": ("Due", "Vencen"),
    "due_month": ("Month due", "Mes de vencimiento"),
    "kept": ("Kept", "Cumplidas"),
    "partial": ("Paid in part", "Parciales"),
    "broken": ("Broken", "Incumplidas"),
    "open": ("Open", "Abiertas"),
    "replaced": ("Replaced", "Reemplazadas"),
    "over_kept": ("Kept, window passed", "Cumplidas, plazo terminado"),
    "over_settled": ("Kept, in part or broken, window passed", "Cumplidas, parciales o incumplidas, plazo terminado"),
    "promised_amount": ("Amount promised", "Monto prometido"),
    "settled_promised_amount": ("Promised", "Prometido"),
    "settled_paid_capped_amount": ("Paid of it", "Pagado de ello"),
    "amount_kept_rate": ("Share of the amount kept", "Proporción del monto cumplida"),
    "payments_until": (
        "Payments are known up to: {reach}. Of promises that could be paid after that day only those already kept are "
        "decided, so the rates of the last days look too good.",
        "Los pagos se conocen hasta: {reach}. De las promesas que podían pagarse después de ese día solo están resueltas "
        "las ya cumplidas, y las tasas de los últimos días se ven mejores de lo que son.",
    ),
    "no_day": ("no day", "ningún día"),
    "no_payments": (
        "Without payments.csv nobody knows which promises were kept.",
        "Sin payments.csv no se sabe qué promesas se cumplieron.",
    ),
    "waiting_promises": ("Due this week, or in grace", "Vencen esta semana, o en gracia"),
    "account_id": ("Account", "Cuenta"),
    "client_name": ("Client", "Cliente"),
    "made_date": ("Made on", "Hecha el"),
    "promise_date": ("Promised for", "Prometida para"),
    "deadline": ("Deadline", "Fecha límite"),
    "payment_method_code": ("How", "Cómo"),
    "status": ("Status", "Estado"),
    # follow-ups
    "revisits_due": ("Due now", "Pendientes hoy"),
    "revisits_ahead": ("Agreed for later", "Acordados para después"),
    "revisits_in_period": ("Agreed for these days", "Acordados para estos días"),
    "revisits_settled": ("Follow-ups decided", "Seguimientos resueltos"),
    "early": ("Early", "Antes"),
    "on_time": ("On time", "A tiempo"),
    "late": ("Late", "Tarde"),
    "missed": ("Missed", "No realizados"),
    "pending": ("Pending", "Pendientes"),
    "on_time_rate": ("Share on time", "Proporción a tiempo"),
    "missed_rate": ("Share missed", "Proporción no realizada"),
    "in_slot": ("In the slot", "En el horario"),
    "slot_known": ("With a slot, on the day", "Con horario, en el día"),
    "in_slot_rate": ("In the slot agreed", "En el horario acordado"),
    "work_list": ("Work list", "Lista de trabajo"),
    "work_list_note": (
        "Agreed for the last {back} days or the next {ahead}, oldest first.",
        "Acordados para los últimos {back} días o los próximos {ahead}; primero los más antiguos.",
    ),
    "revisit_date": ("Agreed for", "Acordado para"),
    "days_overdue": ("Days overdue", "Días de atraso"),
    "slots": ("Slots", "Horarios"),
    "asked_on": ("Asked on", "Solicitado el"),
    "lat": ("Latitude", "Latitud"),
    "lng": ("Longitude", "Longitud"),
    "visit_id": ("Visit", "Visita"),
    "product_id": ("Product", "Producto"),
    # map
    "map_note": (
        "{shown} of {all} agents, those with most visits. Kilometres from the middle of the agent's day, north up, each "
        "panel as wide as the agent went; points farther than {far} km are listed below only.",
        "{shown} de {all} agentes, los de más visitas. Kilómetros desde el centro del día del agente, norte arriba, "
        "cada recuadro a su escala; los puntos a más de {far} km solo aparecen en la lista.",
    ),
    "outliers": ("What stands out", "Lo que sobresale"),
    "contact": ("Contact", "Contacto"),
    "no_contact": ("No contact", "Sin contacto"),
    "east_km": ("km east", "km al este"),
    "north_km": ("km north", "km al norte"),
    "leg_km": ("Km from the visit before", "Km desde la visita anterior"),
    "travel_min": ("Minutes since the visit before", "Minutos desde la visita anterior"),
    "speed_kmh": ("km/h", "km/h"),
    "stop": ("Stop", "Parada"),
    "time": ("Local time", "Hora local"),
    "outcome": ("Outcome", "Resultado"),
    "reason": ("Reason", "Motivo"),
    "is_far": ("Far from the others of the day", "Lejos de las demás del día"),
    # data health
    "freshness": ("How fresh", "Qué tan reciente"),
    "published_at": ("Published (UTC)", "Publicado (UTC)"),
    "last_run_at": ("Last run ended (UTC)", "Fin de la última corrida (UTC)"),
    "last_received_at": ("Last delivery (UTC)", "Última entrega (UTC)"),
    "last_run_s": ("Seconds it took", "Segundos que tomó"),
    "as_of_date": ("As of", "Con fecha de"),
    "deliveries": ("Deliveries", "Entregas"),
    "landed": ("Landed", "Recibidas"),
    "new_versions": ("New versions", "Versiones nuevas"),
    "duplicates": ("Duplicates", "Duplicadas"),
    "duplicate_rate": ("Share of duplicates", "Proporción de duplicadas"),
    "rejected": ("Rejected", "Rechazadas"),
    "rejected_rate": ("Share rejected", "Proporción rechazada"),
    "rejected_share": ("Share", "Proporción"),
    "unbalanced_days": ("Days not accounted for", "Días sin cuadrar"),
    "undated_visits": ("Visits without a day", "Visitas sin fecha"),
    "rejected_by_reason": ("Rejected, by reason", "Rechazadas, por motivo"),
    "unmapped_questions": ("Questions that nothing maps", "Preguntas sin mapear"),
    "question_id": ("Id", "Id"),
    "question_name": ("Question", "Pregunta"),
    "answer_name": ("Answer", "Respuesta"),
    "answered": ("Answered", "Contestadas"),
    "unmapped_labels": ("Labels that nothing maps", "Etiquetas sin mapear"),
    "label": ("Label", "Etiqueta"),
    "reconciliation": ("Reconciliation", "Conciliación"),
    "received_date": ("Received on (UTC)", "Recibidas el (UTC)"),
    "is_balanced": ("Accounted for", "Cuadra"),
    "drift": ("Checks: these days against the period before", "Revisiones: estos días contra el periodo anterior"),
    "rate_now": ("These days", "Estos días"),
    "rate_before": ("Before", "Antes"),
    "failed_now": ("Failed", "Con falla"),
    "failed_before": ("Failed", "Con falla"),
    "tested_now": ("Tested", "Probadas"),
    "tested_before": ("Tested", "Probadas"),
    "unread_answers": ("Answers that do not read as their type", "Respuestas que no se leen como su tipo"),
    "undocumented_fields": ("Fields that Kobra does not document", "Campos que Kobra no documenta"),
    "field": ("Field", "Campo"),
    "visits_with_it": ("Visits with it", "Visitas con él"),
    "refused_inputs": ("Unusable lines of payments and accounts", "Líneas inservibles de pagos y cuentas"),
    "file": ("File", "Archivo"),
    "rows": ("Lines", "Líneas"),
}

# What a figure of a page means where no column of marts says it.
_TOLD: dict[str, tuple[str, str]] = {
    "rank": ("Place by the productive share that is certain.", "Lugar según la proporción segura de visitas productivas."),
    "visits_per_day": ("Completed visits per day with any.", "Visitas completadas por día con alguna."),
    "productive_low95": (
        "Lower end of the 95 % interval of the productive share (Wilson).",
        "Extremo inferior del intervalo de 95 % de la proporción productiva (Wilson).",
    ),
    "rpc_rate_low95": (
        "Lower end of the 95 % interval of the right-party contact rate (Wilson).",
        "Extremo inferior del intervalo de 95 % de la tasa de contacto con titular (Wilson).",
    ),
    "doubtful_rate": (
        "Completed visits with any flag that casts doubt on place, time or result.",
        "Visitas completadas con alguna señal que hace dudar del lugar, la hora o el resultado.",
    ),
    "failed_share": ("failed / tested in these days.", "con falla / probadas en estos días."),
    "rejected_share": ("Of all deliveries that landed.", "De todas las entregas recibidas."),
    "failed_rate": ("failed / tested, of all that could be tested.", "con falla / probadas, de todo lo que se pudo probar."),
    "rate_now": ("failed / tested in these days.", "con falla / probadas en estos días."),
    "rate_before": ("failed / tested in the period before.", "con falla / probadas en el periodo anterior."),
    "failed": ("Answers with a value that does not read as their type.", "Respuestas cuyo valor no se lee como su tipo."),
    "tested": ("Answers with a value.", "Respuestas con valor."),
    "due_today": (
        "Valid promises for this day that are not settled: open, or unknown without payments.",
        "Promesas válidas para este día sin resolver: abiertas, o sin dato si no hay pagos.",
    ),
    "due_today_amount": ("Sum of their known amounts.", "Suma de sus montos conocidos."),
    "due_this_week": (
        "Valid promises for a day of this week, Monday to Sunday, that are not settled.",
        "Promesas válidas para un día de esta semana, de lunes a domingo, sin resolver.",
    ),
    "due_this_week_amount": ("Sum of their known amounts.", "Suma de sus montos conocidos."),
    "in_grace": (
        "The promised day has passed, the deadline has not.",
        "El día prometido ya pasó; la fecha límite no.",
    ),
    "revisits_due": ("Agreed for today or before, not made, and not yet missed.", "Acordados para hoy o antes, sin hacer y aún a tiempo."),
    "revisits_ahead": ("Agreed for a day to come.", "Acordados para un día por venir."),
    "revisits_settled": (
        "Follow-ups agreed for these days that were made early, on time or late, or missed.",
        "Seguimientos acordados para estos días que se hicieron antes, a tiempo o tarde, o no se hicieron.",
    ),
    "on_time_rate": ("On time / decided.", "A tiempo / resueltos."),
    "missed_rate": ("Missed / decided.", "No realizados / resueltos."),
    "late": ("Made after the day agreed and the days of tolerance.", "Hechos después del día acordado y de la tolerancia."),
    "missed": ("Not made, and the days of tolerance have passed.", "No hechos, y la tolerancia ya pasó."),
    "days_overdue": ("Days since the day agreed; negative before it.", "Días desde el día acordado; negativo antes."),
    "published_at": ("When the file that is shown was made.", "Cuándo se hizo el archivo que se muestra."),
    "last_run_at": ("When the last kobra run that built something ended.", "Cuándo terminó la última corrida que construyó algo."),
    "last_received_at": ("When the latest delivery came in.", "Cuándo llegó la entrega más reciente."),
    "last_run_s": ("How long the last run took.", "Cuánto tomó la última corrida."),
    "as_of_date": ("The day that open, due and missed refer to.", "El día al que se refieren abierto, vence y no realizado."),
    "undated_visits": (
        "Visits whose start is unknown: they are in no period, hour or route.",
        "Visitas sin hora de inicio: no están en ningún periodo, hora ni ruta.",
    ),
    "visits_with_it": ("Visits that carry the field.", "Visitas que traen el campo."),
    "rows": ("Lines that cannot be used.", "Líneas que no se pueden usar."),
}  # fmt: skip

_WEEKDAYS = {
    "en": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split(),
    "es": "lunes martes miércoles jueves viernes sábado domingo".split(),
}
_MONTHS = {
    "en": "January February March April May June July August September October November December".split(),
    "es": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre".split(),
}


class Words:
    """The texts in one language."""

    def __init__(self, language: str) -> None:
        self.language = language if language in LANGUAGES else "en"
        self._at = list(LANGUAGES).index(self.language)

    def __call__(self, name: str) -> str:
        return _WORDS[name][self._at]

    def told(self, name: str) -> str:
        """What a figure means that no column of marts defines."""
        return _TOLD[name][self._at] if name in _TOLD else ""

    def of_file(self, definition: str) -> str:
        """A definition of the file in the reader's language; as it stands there where nobody has translated it."""
        plain = definition.replace("`", "")
        return DEFINITIONS.get(definition, plain) if self.language == "es" else plain

    def of_code(self, code: str | None) -> str:
        """A status or code as people say it; one that a customer added as it is, without underscores."""
        if code is None:
            return self("unknown")
        return self(code) if code in _WORDS else code.replace("_", " ")

    def product(self, product_id: int | None) -> str:
        name = f"product_{product_id or 0}"
        return self(name) if name in _WORDS else f"{self('product')} {product_id}"

    def weekday(self, iso_dow: int) -> str:
        return _WEEKDAYS[self.language][iso_dow - 1]

    @property
    def locale(self) -> dict[str, Any]:
        """For charts. Mexico writes numbers as English does."""
        days, months = _WEEKDAYS[self.language], _MONTHS[self.language]
        sunday_first = [days[6], *days[:6]]
        return {
            "number": {"decimal": ".", "thousands": ",", "grouping": [3], "currency": ["$", ""]},
            "time": {
                "dateTime": "%A %e %B %Y, %H:%M", "date": "%Y-%m-%d", "time": "%H:%M:%S", "periods": ["AM", "PM"],
                "days": sunday_first, "shortDays": [day[:3] for day in sunday_first],
                "months": months, "shortMonths": [month[:3] for month in months],
            },
        }  # fmt: skip

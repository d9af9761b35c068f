"""Spanish for the definitions that the published file carries, by their text there."""

DEFINITIONS = {
    "Visits finished and not cancelled.": "Visitas terminadas y no canceladas.",
    "contacts / contact_known; NULL when nothing is known.": "contactos / visitas con contacto conocido.",
    "rpcs / contact_known; NULL when nothing is known.": "contactos con titular o aval / visitas con contacto conocido.",
    "Completed visits with a promise to pay.": "Visitas completadas con promesa de pago.",
    "promises_in_contact / contacts.": "promesas con contacto / contactos.",
    "Sum of the amounts promised; NULL when none is known.": "Suma de los montos prometidos; sin dato si no se conoce ninguno.",
    "kept / (kept + partial + broken).": "cumplidas / (cumplidas + parciales + incumplidas).",
    "validated / (validated + refuted).": "validadas / (validadas + refutadas).",
    "cancelled / (completed + cancelled).": "canceladas / (completadas + canceladas).",
    "Completed visits of which it is known whether contact was made: the denominator of contact and RPC rates.":
        "Visitas completadas de las que se sabe si hubo contacto: el denominador de las tasas de contacto.",
    "Lower end of the 95 % interval of the contact rate (Wilson).":
        "Extremo inferior del intervalo de 95 % de la tasa de contacto (Wilson).",
    "Completed visits.": "Visitas completadas.",
    "Visits with right-party contact, a promise or a conclusive validation.":
        "Visitas con contacto con titular, promesa o validación concluyente.",
    "Minutes on site, without visits of negative or too long duration.":
        "Minutos en el sitio, sin visitas de duración negativa o demasiado larga.",
    "Great-circle kilometres between visits; NULL when no leg is known.":
        "Kilómetros en línea recta entre visitas; sin dato si no se conoce ningún tramo.",
    "How many failed.": "Cuántas fallaron.",
    "How many could be tested.": "Cuántas se pudieron probar.",
    "Valid promises for a date in the month.": "Promesas válidas para una fecha del mes.",
    "settled_paid_capped_amount / settled_promised_amount.": "pagado / prometido, hasta el monto de cada promesa.",
    "Sum of the known amounts of all due.": "Suma de los montos conocidos de todas las que vencen.",
    "Promises kept.": "Promesas cumplidas.",
    "Promises paid in part.": "Promesas pagadas en parte.",
    "Promises broken.": "Promesas incumplidas.",
    "Promises whose deadline has not passed.": "Promesas cuya fecha límite no ha pasado.",
    "Promises replaced by a later one in time.": "Promesas reemplazadas a tiempo por otra posterior.",
    "Amount promised, in the account's currency; NULL when unknown.":
        "Monto prometido, en la moneda de la cuenta; sin dato si se desconoce.",
    "The follow-up started within a slot agreed, ends included; NULL unless it came on the date itself and a slot was given.":
        "El seguimiento empezó dentro de un horario acordado; solo si se hizo en la fecha misma y había horario.",
    "Great-circle distance in metres; NULL when either fix is missing.":
        "Distancia en línea recta; sin dato si falta alguna ubicación.",
    "Start − end of the visit before, in minutes; negative when they overlap.":
        "Inicio menos fin de la visita anterior, en minutos; negativo si se traslapan.",
    "Speed that this implies; NULL for distances too short to tell and when no time passed.":
        "Velocidad que eso implica; sin dato en distancias muy cortas o si no pasó tiempo.",
    "Deliveries accepted.": "Entregas aceptadas.",
    "New contents, counted from the versions of visits.": "Contenidos nuevos, contados de las versiones de las visitas.",
    "Contents seen before.": "Contenidos ya vistos.",
    "Deliveries that could not become a visit, counted from the rejects.":
        "Entregas que no pudieron ser visita, contadas de los rechazos.",
    "landed = new_versions + duplicates + rejected.": "recibidas = versiones nuevas + duplicadas + rechazadas.",
    "Those with a value.": "Las que tienen valor.",
}  # fmt: skip
